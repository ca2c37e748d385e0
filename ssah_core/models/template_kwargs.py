"""What a chat template is told beside the chat: one set of arguments and one day for a run, written into it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from datetime import datetime
from keyword import iskeyword
from math import isfinite
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..arguments import check_kind
from ..records import NO_THINKING, TODAY, wished_template_kwargs

TemplateKwargs = Mapping[str, Any]
"""Arguments of a template, such as `enable_thinking`: what transformers calls `chat_template_kwargs`."""
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
"""In English, which the names of `strftime` are only where the process speaks it."""
TOLD_THE_DAY = "{% macro strftime_now"


def check_tokenizer(tokenizer: object) -> None:
    """Raise ValueError for what is no tokenizer.

    >>> check_tokenizer("a name")
    Traceback (most recent call last):
    ValueError: tokenizer is 'a name' (str): pass a tokenizer, such as ssah.load gives beside the model
    """
    check_kind(PreTrainedTokenizerBase, "pass a tokenizer, such as ssah.load gives beside the model",
               tokenizer=tokenizer)


def bind_template(tokenizer: PreTrainedTokenizerBase, arguments: TemplateKwargs, today: str = TODAY) -> None:
    """Write arguments, and the day, into a tokenizer's chat template: whoever renders a chat by it then has the same.

    arguments   Name -> text, number, true, false or None: what the template asks for, such as `enable_thinking`.
                Whoever renders a chat with another value, or binds one later, overrides it.
    today       The day that it is told, where it asks for one: "2024-07-26".

    The template is saved with the tokenizer, so a trained checkpoint has them too. Raises ValueError for a name that
    the template does not ask for, and for a name or a value that no template can be told.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> tokenizer.chat_template = "{{ 'Think. ' if think else '' }}{{ messages[0].content }}"
    >>> bind_template(tokenizer, {"think": True})
    >>> tokenizer.apply_chat_template([{"role": "user", "content": "Why?"}], tokenize=False)
    'Think. Why?'
    """
    check_kind(Mapping, "give a mapping, such as {'enable_thinking': False}", chat_template_kwargs=arguments)
    unknown = next((name for name in arguments if not asks_for(tokenizer, name)), None)
    if unknown is not None:
        raise ValueError(f"the chat template does not ask for {unknown!r}: see tokenizer.chat_template for the names "
                         "of its arguments")
    bound = "".join(f"{{% if {name} is not defined %}}{{% set {name} = {_literal(name, value)} %}}{{% endif %}}"
                    for name, value in arguments.items())
    put_template(tokenizer, dated(_before(bound, tokenizer.get_chat_template()), today))


def asks_for(tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """Whether a name stands in a tokenizer's chat template.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> asks_for(tokenizer, "messages"), asks_for(tokenizer, "enable_thinking")
    (True, False)
    """
    return re.search(rf"\b{re.escape(str(name))}\b", tokenizer.get_chat_template()) is not None


def bind_wished(tokenizer: PreTrainedTokenizerBase) -> None:
    """Bind what is wished for checkpoints (`records.wished_template_kwargs`): of the default, what is asked for.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> bind_wished(tokenizer)
    """
    wished = wished_template_kwargs()
    if wished == NO_THINKING:
        wished = {name: value for name, value in wished.items() if asks_for(tokenizer, name)}
    bind_template(tokenizer, wished)


def with_template(tokenizer: PreTrainedTokenizerBase, arguments: TemplateKwargs | None) -> PreTrainedTokenizerBase:
    """The same tokenizer with arguments bound to its template; where there are any, a copy that shares its words.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> with_template(tokenizer, None) is tokenizer
    True
    >>> with_template(tokenizer, {"enable_thinking": False})
    Traceback (most recent call last):
    ValueError: the chat template does not ask for 'enable_thinking': see tokenizer.chat_template for ...
    """
    check_tokenizer(tokenizer)
    if arguments is None or arguments == {}:
        return tokenizer
    tokenizer = copy.copy(tokenizer)
    bind_template(tokenizer, arguments)
    return tokenizer


def put_template(tokenizer: PreTrainedTokenizerBase, template: str) -> None:
    """Make `template` the one that a tokenizer renders chats by; of several named ones, the default.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> tokenizer.chat_template = {"default": "one", "rag": "two"}
    >>> put_template(tokenizer, "three")
    >>> tokenizer.chat_template
    {'default': 'three', 'rag': 'two'}
    """
    several = isinstance(tokenizer.chat_template, dict)
    tokenizer.chat_template = {**tokenizer.chat_template, "default": template} if several else template


def _literal(name: str, value: Any) -> str:
    is_number = isinstance(value, int | float) and isfinite(value)
    if not name.isidentifier() or iskeyword(name) or not (is_number or isinstance(value, str | None)):
        raise ValueError(f"chat_template_kwargs has {name!r}: {value!r}, but a template is told names with text, "
                         "numbers, true, false or None")
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _before(blocks: str, template: str) -> str:
    """A template with blocks before it: on a line of their own, which is cut, as the lines of blocks are."""
    return f"{blocks}\n{template}" if blocks else template


def dated(template: str, today: str = TODAY) -> str:
    """A template that is told the day, where it asks for one (by `strftime_now`) and has not been told.

    >>> dated("no date"), dated("{{ strftime_now('%d %b') }}").endswith("{{ strftime_now('%d %b') }}")
    ('no date', True)
    """
    if "strftime_now" not in template or TOLD_THE_DAY in template:
        return template
    parts = "".join(f" | replace({json.dumps(directive)}, {json.dumps(part)})"
                    for directive, part in _parts(datetime.fromisoformat(today)).items())
    return _before(f"{TOLD_THE_DAY}(format) %}}{{{{ format{parts} }}}}{{% endmacro %}}", template)


def _parts(day: datetime) -> dict[str, str]:
    """Directive of `strftime` -> that part of a day, as a process that speaks English has it."""
    month, weekday = MONTHS[day.month - 1], DAYS[day.weekday()]
    numbers = {f"%{letter}": day.strftime(f"%{letter}") for letter in "dmyYjHIMSuwUWV"}
    return {**numbers, "%-d": str(day.day), "%e": f"{day.day:2}", "%-m": str(day.month), "%-H": "0", "%-I": "12",
            "%B": month, "%b": month[:3], "%h": month[:3], "%A": weekday, "%a": weekday[:3], "%p": "AM", "%Z": "",
            "%F": day.strftime("%Y-%m-%d"), "%D": day.strftime("%m/%d/%y"), "%T": "00:00:00"}

"""Chats as text through a chat template, with nothing of them lost; and what it writes around a response."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from .template_kwargs import dated

THINKING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
"""With which thinking begins and ends: Qwen3, SmolLM3, OLMo 3 and DeepSeek-R1; Magistral."""
ASKED, SAID, TOLD = "(what is asked)", "(what is said)", "(what the system is told)"
"""Texts that are told apart from everything that a template writes around them."""


class Affixes(NamedTuple):
    """What a template writes around a response, as text; and whether it takes a system prompt."""

    before: str
    """Between the generation prompt and the response: a space with Llama-2's, mostly nothing."""
    end: str
    """After the response, up to the token that ends the turn."""
    after: str
    """All that it writes after the response."""
    takes_system: bool
    thought: str
    """The mark, and what follows it, with which the template has begun to think for the model; mostly nothing."""


# -- chats as text -----------------------------------------------------------------------------------------


def rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]], *, answering: bool) -> str:
    """A chat as text, to where the model begins to answer (`answering`) or to the end of its last turn.

    Raises ValueError, with the template's own words, if it does not render the chat.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> rendered(tokenizer, [{"role": "user", "content": "Why?"}], answering=True)
    '<|begin|><|user|>Why?<|assistant|>'
    """
    try:
        return tokenizer.apply_chat_template(list(turns), chat_template=dated(tokenizer.get_chat_template()),
                                             add_generation_prompt=answering, tokenize=False)
    except Exception as error:  # a template is a program of somebody else's, in a sandbox: it may raise anything
        why = str(error) or type(error).__name__
        raise ValueError(f"the chat template does not render this chat ({why}): take another template, or set its "
                         "arguments by chat_template_kwargs of ssah.load") from error


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str,
                  system: str | None = None) -> tuple[list[dict[str, str]], str]:
    """The turns that ask a prompt, and their text up to where the model begins to answer.

    Where the template refuses or drops a system prompt (Gemma's does), it stands before the prompt in the user's turn,
    and a warning says so. Raises ValueError if the template drops the prompt itself.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> render_prompt(tokenizer, "Why?", "Be kind.")[1]
    '<|begin|><|system|>Be kind.<|user|>Why?<|assistant|>'
    """
    turns = [{"role": "user", "content": prompt}]
    if system and affixes(tokenizer).takes_system:
        turns = [{"role": "system", "content": system}, *turns]
    elif system:
        warnings.warn("the chat template takes no system prompt: it stands before the prompt in the user's turn",
                      stacklevel=2)
        turns = [{"role": "user", "content": f"{system}\n\n{prompt}"}]
    head = rendered(tokenizer, turns, answering=True)
    if prompt.strip() not in head:
        raise ValueError(f"the chat template drops the prompt {prompt[:60]!r}: it may want a list of parts, as those "
                         "of multimodal models do; set tokenizer.chat_template to one that takes text")
    return turns, head


def render_response(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]], head: str,
                    response: str) -> tuple[str, str]:
    """The text before a response, and what the template has behind it: the response, up to the end of its turn.

    A thought that the template has begun in `head`, and with which a completion begins, is not said again; where the
    response does not begin with it, the text before it does not end with it. Raises ValueError if the template drops
    the response.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> render_response(tokenizer, *render_prompt(tokenizer, "Why?"), "So.")
    ('<|begin|><|user|>Why?<|assistant|>', 'So.<|end|>')
    """
    around = affixes(tokenizer)
    goes_on = around.thought and response.startswith(around.thought)
    said, head = ((response.removeprefix(around.thought), head) if goes_on else
                  (response, head.removesuffix(around.thought)))
    whole = rendered(tokenizer, [*turns, {"role": "assistant", "content": said}], answering=False)
    if not whole.startswith(head):  # a generation prompt with words that the turn itself has not
        return head, around.before + (said if said in whole else said.strip()) + around.end
    if said.rpartition("</think>")[2].strip() not in whole[len(head):]:
        raise ValueError(f"the chat template drops the response {response[:60]!r}: set tokenizer.chat_template to one "
                         "that renders it")
    return head, whole[len(head):].removesuffix(around.after) + around.end


def _begun_thought(head: str) -> str:
    """What a rendered prompt that has no mark of its own ends with, from a mark on that begins a thought."""
    return next((head[head.rindex(begins):] for begins, ends in THINKING
                 if begins in head and ends not in head[head.rindex(begins):]), "")


# -- around a response -------------------------------------------------------------------------------------


_AFFIXES: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[tuple, Affixes]] = WeakKeyDictionary()
"""Tokenizer -> what its affixes hang on, and these."""


def affixes(tokenizer: PreTrainedTokenizerBase) -> Affixes:
    """What the template writes before and after a response; its end is read off a turn that it renders.

    The end goes up to the first special token after the response ("<|im_end|>"); where there is none, to the first
    added one. Where the template writes neither, it is the tokenizer's end token, and where it has none, nothing.
    Raises ValueError if the template drops prompts or responses.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> affixes(tokenizer)
    Affixes(before='', end='<|end|>', after='<|end|>', takes_system=True, thought='')
    """
    about = json.dumps(tokenizer.chat_template), tokenizer.eos_token, len(tokenizer)
    known = _AFFIXES.get(tokenizer)
    if known is None or known[0] != about:
        known = _AFFIXES[tokenizer] = about, _read_affixes(tokenizer)
    return known[1]


def _read_affixes(tokenizer: PreTrainedTokenizerBase) -> Affixes:
    turns, head = render_prompt(tokenizer, ASKED)
    whole = rendered(tokenizer, [*turns, {"role": "assistant", "content": SAID}], answering=False)
    first, there, after = whole.rpartition(SAID)
    if not there:
        raise ValueError("the chat template drops what the assistant says: set tokenizer.chat_template to one that "
                         "renders its turn")
    before = first.removeprefix(head) if first.startswith(head) else ""
    return Affixes(before, _end(tokenizer, after), after, _takes_system(tokenizer, turns), _begun_thought(head))


def _takes_system(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]]) -> bool:
    try:
        return TOLD in rendered(tokenizer, [{"role": "system", "content": TOLD}, *turns], answering=True)
    except ValueError:
        return False


def _end(tokenizer: PreTrainedTokenizerBase, after: str) -> str:
    added = list(tokenizer.added_tokens_decoder.values())
    special = {str(token) for token in added if token.special} | set(tokenizer.all_special_tokens)
    plain = {str(token) for token in added if str(token).strip()}  # some vocabularies have line breaks as added tokens
    for marks in (special, plain):
        places = [(after.index(mark), -len(mark)) for mark in marks if mark in after]
        if places:
            at, length = min(places)
            return after[:at - length]
    return tokenizer.eos_token or ""

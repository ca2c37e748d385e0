"""Chats as token ids: prompts and responses through a model's own chat template, tokenised as one text."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_list, shown
from .template import affixes, render_prompt, render_response
from .template_kwargs import check_tokenizer
from .thinking import thinks

Wordings = str | Sequence[str]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str | None = None, *,
           system: str | None = None) -> tuple[list[int], int]:
    """Token ids of a chat, and where its response begins.

    system   System prompt; where the template takes none, it stands before the prompt in the user's turn, and a warning
             says so.

    Without a `response`, the ids end where the model would begin to answer; with one, after the token that ends the
    turn in the template's own rendering of it. Prompt and response are tokenised as one text, since many tokenizers
    read a text otherwise alone than behind another; only where the prompt's last token would melt into the response (a
    template that ends in a space) are they tokenised apart, as a model that has read the prompt goes on. The template
    alone adds special tokens, so none is doubled.
    Raises ValueError if the template does not render the chat, or drops the prompt or the response.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids, start = encode(tokenizer, "Why?", "So.")
    >>> tokenizer.decode(ids[start:])
    'So.<|end|>'
    """
    turns, head = render_prompt(tokenizer, prompt, system)
    if response is None:
        ids = _ids(tokenizer, head)
        return ids, len(ids)
    ids, said = _behind(tokenizer, *render_response(tokenizer, turns, head, response))
    return ids + said, len(ids)


def token_ids(tokenizer: PreTrainedTokenizerBase, wordings: Wordings, name: str) -> list[list[int]]:
    """Token ids of one or several wordings, as a response begins with them: behind what the template puts before it.

    Without a chat template, as each is tokenised alone. Raises ValueError if there are none or one is empty, and if the
    template has begun a thought, of which they would be a part.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> [tokenizer.decode(ids) for ids in token_ids(tokenizer, ["Sure", "No"], "openings")]
    ['Sure', 'No']
    >>> token_ids(tokenizer, [], "openings")
    Traceback (most recent call last):
    ValueError: openings=[] holds no text: pass a wording or a list of wordings, none of them empty
    """
    check_tokenizer(tokenizer)
    texts = [wordings] if isinstance(wordings, str) else wordings
    check_list("pass a wording or a list of wordings", **{name: texts})
    texts = list(texts)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} is {shown(wordings)}: pass a wording or a list of wordings, each a text")
    head, before = "", ""
    if tokenizer.chat_template:
        _, head = render_prompt(tokenizer, "?")
        if affixes(tokenizer).thought:
            raise ValueError(f"the chat template begins to think for the model, so that {name} would be part of a "
                             "thought: set tokenizer.chat_template to one that leaves that to the model")
        before = "" if thinks(tokenizer) else affixes(tokenizer).before  # no thought stands before what is to be said
    ids = [_behind(tokenizer, head, before + text)[1] if text else [] for text in texts]
    if not ids or not all(ids):
        raise ValueError(f"{name}={wordings!r} holds no text: pass a wording or a list of wordings, none of them empty")
    return ids


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids that end a response, read off the chat template; without one, the tokenizer's end token, if it has one.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> tokenizer.decode(end_of_turn(tokenizer))
    '<|end|>'
    """
    end = affixes(tokenizer).end if tokenizer.chat_template else tokenizer.eos_token
    return _ids(tokenizer, end.lstrip()) if end else []


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens at which a response is over, sorted: the tokenizer's, those of the checkpoint, and the template's.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> stop_ids(model, tokenizer) == [tokenizer.eos_token_id]
    True
    """
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return sorted({tokenizer.eos_token_id, *named, *end_of_turn(tokenizer)[-1:]} - {None})


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _behind(tokenizer: PreTrainedTokenizerBase, head: str, text: str) -> tuple[list[int], list[int]]:
    """Token ids of a head, and of the text behind it as it is tokenised there."""
    ids, whole = tokenizer([head, head + text], add_special_tokens=False)["input_ids"]
    return ids, whole[len(ids):] if whole[:len(ids)] == ids else _ids(tokenizer, text)

"""Chats as token ids: prompts and responses through a model's own chat template."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

Wordings = str | Sequence[str]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str | None = None, *,
           system: str | None = None) -> tuple[list[int], int]:
    """Token ids of a chat, and where its response begins.

    Without a `response`, the ids end where the model would begin to answer; with one, after its end token. The
    chat template alone adds special tokens, so none is doubled.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids, start = encode(tokenizer, "Why?", "So.")
    >>> tokenizer.decode(ids[start:])
    'So.<|end|>'
    """
    turns = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": prompt}]
    head = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    head_ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    if response is None:
        return head_ids, len(head_ids)
    tail = response + tokenizer.eos_token
    return head_ids + tokenizer(tail, add_special_tokens=False)["input_ids"], len(head_ids)


def token_ids(tokenizer: PreTrainedTokenizerBase, wordings: Wordings, name: str) -> list[list[int]]:
    """Token ids of one or several wordings. Raises ValueError if there are none or one is empty.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> [tokenizer.decode(ids) for ids in token_ids(tokenizer, ["Sure", "No"], "openings")]
    ['Sure', 'No']
    >>> token_ids(tokenizer, [], "openings")
    Traceback (most recent call last):
    ValueError: openings=[] holds no text: pass a wording or a list of wordings, none of them empty
    """
    texts = [wordings] if isinstance(wordings, str) else list(wordings)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    if not ids or not all(ids):
        raise ValueError(f"{name}={wordings!r} holds no text: pass a wording or a list of wordings, none of them empty")
    return ids

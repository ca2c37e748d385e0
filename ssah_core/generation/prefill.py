"""Responses that begin as somebody else wants: each one with the first tokens of a text of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import as_rows, encode
from .complete import generate_texts


@torch.no_grad()
def complete_after(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping], tokens: int, *,
                   begin: str = "response", max_new_tokens: int = 32, batch_size: int = 256, **generate) -> Dataset:
    """Answer every prompt after the first `tokens` tokens of a text of its row: prefilling, row by row.

    rows     Rows with a `prompt`, the text to begin with, and perhaps a `system`; other columns are kept.
    tokens   How many tokens of the text each response begins with (0 or more); they are part of the `response`.
    begin    Column of that text. A row's own `response` is renamed `reference`, as in `ssah.complete`.

    Raises ValueError if a row has no such text or one of fewer tokens, or if prompt, prefill and `max_new_tokens`
    exceed the model's context.
    Source: the prefilling attack of Qi et al. 2024.
    """
    rows = as_rows(rows, "rows")
    starts = first_tokens(tokenizer, [row.get(begin) for row in rows], tokens)
    ids = [encode(tokenizer, row["prompt"], system=row.get("system"))[0] + start
           for row, start in zip(rows, starts, strict=True)]
    _check_context(model, max(map(len, ids)), tokens, max_new_tokens)
    order, texts = sorted(range(len(rows)), key=lambda n: len(ids[n])), [""] * len(rows)
    for at in range(0, len(rows), batch_size):
        batch = order[at:at + batch_size]
        said = generate_texts(model, tokenizer, [ids[n] for n in batch], tokens, max_new_tokens, generate)
        for n, text in zip(batch, said, strict=True):
            texts[n] = text
    return Dataset.from_list([_answered(row, text) for row, text in zip(rows, texts, strict=True)])


def first_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str | None], tokens: int) -> list[list[int]]:
    """The first token ids of every text. Raises ValueError if one is missing or has fewer tokens."""
    if tokens < 0:
        raise ValueError(f"tokens={tokens} is negative: pass 0 for no prefill, or more")
    found = []
    for text in texts:
        if text is None:
            raise ValueError("a row has no text to begin with: pass rows with that column, or name it by `begin`")
        found.append(tokenizer(text, add_special_tokens=False)["input_ids"][:tokens])
        if len(found[-1]) < tokens:
            raise ValueError(f"{text!r} has {len(found[-1])} tokens but {tokens} are to be said first: pass longer "
                             "answers or fewer tokens")
    return found


def _check_context(model: PreTrainedModel, longest: int, tokens: int, max_new_tokens: int) -> None:
    room = getattr(model.config, "max_position_embeddings", None)
    if room and longest + max_new_tokens > room:
        raise ValueError(f"the longest prompt with its prefill of {tokens} tokens has {longest} and "
                         f"max_new_tokens={max_new_tokens}, but the model's context holds {room}: shorten the prefill "
                         "or the prompt")


def _answered(row: Mapping, text: str) -> dict:
    kept = {("reference" if column == "response" else column): value for column, value in row.items()}
    return {**kept, "response": text}

"""Responses that begin as somebody else wants: each one with the first tokens of a text of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import check_context, encode, token_ids
from .complete import as_responses, generate_texts
from .rows import answered, checked_rows


def complete_after(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping], tokens: int, *,
                   begin: str = "response", max_new_tokens: int = 32, batch_size: int = 256,
                   **generate: Any) -> Dataset:
    """Answer every prompt after the first `tokens` tokens of a text of its row: prefilling, row by row.

    rows     Rows with a `prompt`, the text to begin with, and perhaps a `system`; other columns are kept.
    tokens   How many tokens of the text each response begins with (0 or more); they are part of the `response`.
    begin    Column of that text. A row's own `response` is renamed `reference`, as in `ssah.complete`.

    Raises ValueError, before anything is generated, if a row has no such text or one of fewer tokens, if prompt,
    prefill and `max_new_tokens` exceed the model's context, or if columns cannot be kept, as in `ssah.complete`.
    Source: the prefilling attack of Qi et al. 2024.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> rows = [{"prompt": "How do I mend the kettle?", "response": "Sure, here is how: take the brush."}]
    >>> said = complete_after(model, tokenizer, rows, 2, max_new_tokens=3)
    >>> said.column_names, said[0]["response"].startswith("Sure,")
    (['prompt', 'reference', 'response'], True)

    *Shown in:* 08_re_evaluate_direction.
    """
    rows = checked_rows(rows, "rows")
    starts = first_tokens(tokenizer, [row.get(begin) for row in rows], tokens)
    ids = [encode(tokenizer, row["prompt"], system=row.get("system"))[0] + start
           for row, start in zip(rows, starts, strict=True)]
    longest = max(map(len, ids))
    check_context(model, longest + max_new_tokens,
                  f"the longest prompt with its prefill of {tokens} tokens has {longest} and "
                  f"max_new_tokens={max_new_tokens}", "shorten the prefill or the prompt")
    texts = generate_texts(model, tokenizer, ids, tokens, max_new_tokens, batch_size, **generate)
    return answered(rows, as_responses(tokenizer, texts, tokens > 0))


def first_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str | None], tokens: int) -> list[list[int]]:
    """The first token ids of every text, as a response begins with it.

    Raises ValueError if one is missing, empty, or has fewer tokens.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> [tokenizer.decode(ids) for ids in first_tokens(tokenizer, ["Sure, here is how", "No, sorry"], 2)]
    ['Sure,', 'No,']
    """
    if tokens < 0:
        raise ValueError(f"tokens={tokens} is negative: pass 0 for no prefill, or more")
    if any(text is None for text in texts):
        raise ValueError("a row has no text to begin with: pass rows with that column, or name it by `begin`")
    if not tokens:
        return [[] for _ in texts]
    found = token_ids(tokenizer, texts, "text to begin with")
    for text, ids in zip(texts, found, strict=True):
        if len(ids) < tokens:
            raise ValueError(f"{text!r} has {len(ids)} tokens but {tokens} are to be said first: pass longer "
                             "answers or fewer tokens")
    return [ids[:tokens] for ids in found]

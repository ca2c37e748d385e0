"""Rows that are asked and rows that are answered: looked at before a token is generated, put together after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from datasets import Dataset

from ..data import check_columns
from ..models import Queries, as_rows


def checked_rows(prompts: Queries, name: str) -> list[dict]:
    """Prompts as rows that can be answered and kept.

    prompts   Strings, or rows with a `prompt` and perhaps a `system`.
    name      What an error calls them.

    Raises ValueError if there are none, or if a row has no text as `prompt` or `system`, or columns do not go together
    (naming row and column): generation may take hours, and its answers would be lost.

    >>> checked_rows(["Why?"], "prompts")
    [{'prompt': 'Why?'}]
    >>> checked_rows([{"prompt": "Why?"}, {"goal": "How?"}], "prompts")
    Traceback (most recent call last):
    ValueError: prompts row 2 has no text as 'prompt' (it holds NoneType None): give every row a prompt
    """
    rows = as_rows(prompts, name)
    for n, row in enumerate(rows, 1):
        if not isinstance(row.get("prompt"), str):
            value = row.get("prompt")
            raise ValueError(f"{name} row {n} has no text as 'prompt' (it holds {type(value).__name__} {value!r}): "
                             "give every row a prompt")
        if not isinstance(row.get("system"), str | None):
            value = row["system"]
            raise ValueError(f"{name} row {n}: column 'system' holds {type(value).__name__} {value!r}, but only text "
                             "or None is allowed: give a text, or leave it out")
    check_columns(rows, name)
    return rows


def answered(rows: Sequence[Mapping], texts: Sequence[str]) -> Dataset:
    """Rows with their texts as `response`; a `response` that a row had is its `reference`.

    >>> answered([{"prompt": "Why?", "response": "So."}], ["No."]).to_list()
    [{'prompt': 'Why?', 'reference': 'So.', 'response': 'No.'}]
    """
    done = []
    for row, text in zip(rows, texts, strict=True):
        kept = {column: value for column, value in row.items() if column != "response"}
        done.append({**kept, **({"reference": row["response"]} if "response" in row else {}), "response": text})
    columns = dict.fromkeys(column for row in done for column in row)  # from_list takes those of the first row alone
    return Dataset.from_list([{column: row.get(column) for column in columns} for row in done])

"""Whether rows can be put together as one data set, looked at before anything dear is done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow
from datasets import Dataset

UNFIT = (pyarrow.ArrowException, OverflowError, RecursionError, TypeError, UnicodeError, ValueError)
"""What `datasets` raises for a column that it cannot hold."""


def check_columns(rows: Sequence[Mapping[str, Any]], place: str) -> None:
    """Raise ValueError, naming row and column, if rows cannot be put together as columns.

    rows    Rows; one that lacks a column counts as one that holds None there.
    place   Where they are from: the beginning of the error's sentence.

    A column holds one type (whole numbers and fractions are one; None goes with any), whole numbers fit into 64 bits,
    and text has no lone half of a surrogate pair, which is no character and cannot be written.

    >>> check_columns([{"prompt": "Why?", "id": 7}, {"prompt": "How?", "id": "b-8"}], "prompts")
    Traceback (most recent call last):
    ValueError: prompts row 2: column 'id' holds str 'b-8', which does not go with the rows before it (...): ...
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"{place} have a column named {name!r}, {type(name).__name__}, but a name is text: rename "
                             "it")
    columns = {name: [row.get(name) for row in rows] for name in names}
    if _unfit(columns) is None:
        return
    for name, values in columns.items():
        why = _unfit({name: values})
        if why is not None:
            raise _misfit(name, values, place, why)


def _unfit(columns: Mapping[str, Sequence[Any]]) -> Exception | None:
    """Why columns cannot be kept; None if they can. Tried, not guessed: `datasets` alone knows what it can hold."""
    try:
        Dataset.from_dict(dict(columns))
    except UNFIT as error:
        return error
    return None


def _misfit(column: str, values: Sequence[Any], place: str, why: Exception) -> ValueError:
    """The error that names the first row which makes the ones before it and itself no column."""
    good, bad = 0, len(values)  # so many rows make a column, so many make none
    while bad - good > 1:
        half = (good + bad) // 2
        good, bad = (half, bad) if _unfit({column: values[:half]}) is None else (good, half)
    value, shown = values[bad - 1], repr(values[bad - 1])
    alone = _unfit({column: [value]}) is not None
    return ValueError(
        f"{place} row {bad}: column {column!r} holds {type(value).__name__} "
        f"{shown if len(shown) <= 60 else shown[:60] + '...'}, which "
        f"{'cannot be kept' if alone else 'does not go with the rows before it'} ({str(why).splitlines()[0]}): give a "
        "column values of one type, text without lone surrogates and whole numbers of 64 bits, or leave it out")

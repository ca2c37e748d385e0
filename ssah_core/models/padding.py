"""Rows of unlike length as one batch: every column padded to the longest row, on the right or on the left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

IGNORED = -100
"""Label of a token that bears no loss (torch's convention)."""


def pad_columns(columns: Mapping[str, Sequence[Sequence[int]]], fills: Mapping[str, int], *, left: bool = False,
                device: torch.device | str | None = None) -> dict[str, Tensor]:
    """Stack columns of rows, and say in `attention_mask` what is no padding: each int64 [row, token].

    columns   Name -> rows of integers. A row is as long in every column.
    fills     Name -> what stands in the padding of that column.
    left      Pad on the left, as generation needs it; else on the right.

    Raises ValueError if a row is longer in one column than in another.

    >>> batch = pad_columns({"input_ids": [[5, 6, 7], [8]], "labels": [[-100, 6, 7], [8]]},
    ...                     {"input_ids": 0, "labels": IGNORED})
    >>> batch["labels"].tolist(), batch["attention_mask"].tolist()
    ([[-100, 6, 7], [8, -100, -100]], [[1, 1, 1], [1, 0, 0]])
    >>> pad_columns({"input_ids": [[5, 6, 7], [8]]}, {"input_ids": 0}, left=True)["input_ids"].tolist()
    [[5, 6, 7], [0, 0, 8]]
    """
    lengths = [len(row) for row in next(iter(columns.values()))]
    width = max(lengths)
    uneven = [name for name, rows in columns.items() if [len(row) for row in rows] != lengths]
    if uneven:
        raise ValueError(f"column {uneven[0]!r} has rows of other lengths than {next(iter(columns))!r}: give every "
                         "token a value in every column")

    def stack(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        gaps = ([fill] * (width - len(row)) for row in rows)
        padded = [[*gap, *row] if left else [*row, *gap] for row, gap in zip(rows, gaps, strict=True)]
        return torch.tensor(padded, dtype=torch.int64, device=device)

    return {**{name: stack(rows, fills[name]) for name, rows in columns.items()},
            "attention_mask": stack([[1] * length for length in lengths], 0)}

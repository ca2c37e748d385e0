"""Asking an organism again and again with other units removed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from unittest.mock import patch

from ssah_core import ablate, complete
from ssah_core.studies import WAYS, Subject
from ssah_core.units import random_like

from .pairs import Ratio, paired

GROUPS = 40


def ablation(pairs: int) -> Iterator[Ratio]:
    """An exam of 500 prompts for each of 40 groups, over the same with every batch carried to its last row's end."""
    subject = Subject.load(0, "organism")
    rows = [row for part in subject.material.exam("validation", 100).values() for row in part]
    model, tokenizer = subject.model, subject.tokenizer
    first = subject.group("SCU", WAYS["paper"]["SCU"], 0.02)
    masks = [first, *(random_like(first, draw) for draw in range(GROUPS - 1))]

    def ours() -> None:
        for mask in masks:
            with ablate(model, mask):
                complete(model, tokenizer, rows)

    def whole() -> None:
        with patch.object(sys.modules["ssah_core.generation.complete"], "LEG", 32):
            ours()

    yield paired("ablation, 40 groups", f"{len(rows)} prompts answered 40 times / batches carried to their last row's "
                 "end", ours, whole, pairs=min(pairs, 3), goal=0.5)

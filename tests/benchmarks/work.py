"""A run that workers of another process can import: a search for the units of a small model."""

from __future__ import annotations

from ssah_core.studies import WAYS, Subject


def search_units(seed: int) -> int:
    """How many units the first two rounds find, of organism 0; `seed` tells runs apart."""
    subject = Subject.load(0, "organism")
    return len(subject.compute_scores(WAYS["chosen"]["SCU"], 2).sizes)

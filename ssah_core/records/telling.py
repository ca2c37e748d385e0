"""How a headline is told: its words where it stands alone, and what its effect is of. What is registered stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RETOLD: Mapping[str, tuple[str, str]] = {
    "patching/before_last/flips": ("that one token", "a request's last token"),
    "table4/sft/best_rate/ru_vs_all/old": ("by SFT", "by supervised fine-tuning (SFT)")}
"""Claim -> registered words that other words have to explain, and words that need none."""
MEASURED: Mapping[str, str] = {
    "gap": "in cosine distance, nearer to refused requests", "flips": "points of pairs turned",
    "harm_right": "points of malicious requests answered rightly", "utility": "points of utility",
    "morals": "points of right and wicked told apart", "asr": "points of malicious requests not refused",
    "old": "points of what it knew"}
"""Last part of a claim's id -> the unit of its effect, and what there is more or less of."""
SIGN = ("An effect above 0 is more, one below 0 less, of what stands behind it; with fewer malicious requests not "
        "refused a model is safer.")


def in_words(claim: Any) -> str:
    """The statement of a claim, or of a row of the verdicts, for a place where no other claim stands before it.

    >>> from ssah_core.records import telling
    >>> from ssah_core.records.claim_list import get_claim
    >>> telling.in_words(get_claim("patching/before_last/flips")).partition(",")[0]
    "The state of a request's last token"
    """
    return claim.statement.replace(*RETOLD.get(claim.id, ("", "")))


def of(id: str) -> str:
    """Unit and object of a claim's effect. Raises KeyError for a claim that is neither a headline nor in a question.

    >>> from ssah_core.records import telling
    >>> telling.of("table1/scu/utility")
    'points of utility'
    """
    return MEASURED[id.rpartition("/")[2]]

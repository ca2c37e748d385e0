"""The catch of a claim: what to know before one believes it, in a sentence with numbers from records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter

from .prose import DECIMALS, bracketed, number
from .records import Record

CATCHES: Mapping[str, str] = {
    "direction/intent/turned/gap": "By the distance that the paper draws, over the tokens that follow, the unaligned "
                                   "model is nearer to refusal too: {direction/query/instructed/gap}, and aligned "
                                   "{direction/query/aligned/gap}.",
    "patching/before_last/flips": "In single organisms {patching/before_last/flips:range}, so that the interval, which "
                                  "takes effects to scatter alike to both sides, is a rough one. In many organisms an "
                                  "earlier block carries it too.",
    "table1/scu/harm_right": "SCU are {table1/scu/share} of all units, as many as cost at most 3 points of utility on "
                             "validation prompts. The paper counts what is not refused: here {table1/scu/asr}.",
    "table1/scu/utility": "Their number was chosen so that it should be; as many random units change "
                          "{table1/random_scu/utility}.",
    "table1/scu/morals": "No exam of the paper's asks for it; as many random units change "
                         "{table1/random_scu/morals}.",
    "table1_variance/scu/harm_right": "It takes {table1_variance/scu/share} of the units. The paper counts what is not "
                                      "refused: here {table1_variance/scu/asr}.",
    "table2/benign/scu_6cu_vs_nothing/asr": "A mean over six doses, of which the smallest and the largest leave "
                                            "little room (notebook 05, section 5.4). At one learning rate: an attacker "
                                            "who chooses it undoes half of the refusals with one that is higher by "
                                            "{worst_rate/half/scu_6cu_over_nothing/lr} (secondary, added later), and "
                                            "all of them in every arm. The paper's are rates of HEx-PHI by "
                                            "GPT-4, after an epoch in which all CU were held too.",
    "table2/benign/scu_6cu_vs_random/asr": "An attacker who chooses the learning rate undoes half of "
                                           "the refusals with one that is higher by "
                                           "{worst_rate/half/scu_6cu_over_random/lr} (secondary, added later).",
    "table4/sft/best_rate/ru_vs_all/old": "All parameters, at their best learning rate, keep "
                                          "{table4/sft/best_rate/all/old}: no more than the rest could be gained. "
                                          "Their best rate is in most organisms the slowest that was tried, and that "
                                          "of redundant units the slowest at which they became safe (notebook 07). The "
                                          "paper's number is GSM8K's, against the model before.",
}
"""Claim -> its catch, with records named in braces."""


def told(records: Sequence[Record]) -> dict[str, str]:
    """The catch of each claim of `CATCHES` whose numbers are there, of organisms.

    >>> from ssah_core.records import catches
    >>> sorted(catches.told([]))
    []
    """
    numbers = _Numbers.of(records)
    return {claim: text.format_map(numbers) for claim, text in CATCHES.items() if numbers.has_all(text)}


def filled(text: str, records: Sequence[Record]) -> str:
    """A text with the numbers of the records that it names in braces, of organisms; "not measured" where none is.

    "{table1/scu/harm_right}" is a mean with its interval, "{table1/scu/harm_right:range}" the lowest and the highest
    organism.

    >>> from ssah_core.records import catches
    >>> catches.filled("{table1/scu/harm_right}", [])
    'not measured'
    """
    return text.format_map(_Numbers.of(records))


class _Told(str):
    """A record's number with its interval; as ":range", its lowest and highest organism. Without a record, a text."""

    def __new__(cls, text: str, record: Record | None = None) -> _Told:
        told = super().__new__(cls, text)
        told.ends = [number(value, record.unit) for value in (min(record.values), max(record.values))] if record else [
            text]
        return told

    def __format__(self, spec: str) -> str:
        return " to ".join(self.ends) if spec == "range" else str(self)


class _Numbers(dict):
    """A record's number with its interval, by its id."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> _Numbers:
        return cls({record.claim: record for record in records
                    if (record.scale, record.model) == ("organism", "organism")})

    def __getitem__(self, claim: str) -> _Told:
        if claim not in self:
            return _Told("not measured")
        record = super().__getitem__(claim)
        bounds = bracketed(record.interval, len(record.values), DECIMALS[record.unit])
        return _Told(f"{number(record.value, record.unit)} {bounds}", record)

    def has_all(self, text: str) -> bool:
        return all(claim in self for _, claim, _, _ in Formatter().parse(text) if claim)

"""What a run found, in ten lines: each beside the committed value and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .claim import Claim
from .claim_list import CLAIMS
from .prose import bracketed, number
from .records import Record
from .telling import in_words
from .verdicts import effect_of


def describe(run: Sequence[Record], committed: Sequence[Record], *, scale: str, model: str = "organism") -> list[str]:
    """Lines that say what a run found: a heading, then one line for each claim of the report's first table.

    run        records of the run; those of another scale or model are passed over
    committed  records of the repository, of which those of organisms count
    scale      of the run
    model      "organism", or the checkpoint's name

    A record that is missing is said to be missing.

    >>> from ssah_core.records.findings import describe
    >>> describe([], [], scale="organism")[2].rpartition(". ")[2]
    'Here: not measured (notebook 02); nothing committed'
    """
    ours, theirs = _by_id(run, scale, model), _by_id(committed, "organism", "organism")
    return [_heading(ours, theirs, scale, model),
            *(_line(claim, ours, theirs) for claim in CLAIMS if claim.headline)]


def _by_id(records: Sequence[Record], scale: str, model: str) -> dict[str, Record]:
    return {record.claim: record for record in records if (record.scale, record.model) == (scale, model)}


def _heading(ours: Mapping[str, Record], theirs: Mapping[str, Record], scale: str, model: str) -> str:
    where = _organisms(ours) if model == "organism" else model
    tiny = ", at scale tiny, which proves that the code runs and no more" if scale == "tiny" else ""
    return (f"Found in {where}{tiny}. Committed: mean of {_organisms(theirs)} [95 % interval of that mean, which a "
            "single one may miss].")


def _organisms(records: Mapping[str, Record]) -> str:
    numbers = sorted({len(record.seeds) for record in records.values()})
    if not numbers:
        return "no organism"
    text = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
    return f"{text} organism" + "s" * (numbers != [1])


def _line(claim: Claim, ours: Mapping[str, Record], theirs: Mapping[str, Record]) -> str:
    here = _effect(claim, ours) or f"not measured (notebook {claim.notebook[:2]})"
    committed = _effect(claim, theirs)
    return f"- {in_words(claim)} Here: {here}; {f'committed: {committed}' if committed else 'nothing committed'}"


def _effect(claim: Claim, records: Mapping[str, Record]) -> str:
    """The effect of a claim in some records, with its interval where there are organisms enough; "" where it is not."""
    needed = [id for id in (claim.record, claim.control) if id]
    if not all(id in records for id in needed):
        return ""
    value, *control = (records[id] for id in needed)
    _, interval = effect_of(claim, value, *(control or [None]))
    bounds = "" if interval.n == 1 else f" {bracketed(interval.bounds, interval.n, 3 if claim.unit == 'cosine' else 1)}"
    return number(interval.mean, claim.unit, bool(control)) + bounds

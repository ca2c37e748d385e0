"""What a run found, in a dozen lines: each beside the committed value and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .claim_list import get_claim
from .records import Record
from .statistics import LIMITS



@dataclass(frozen=True)
class Finding:
    """One claim in plain words."""

    claim: str
    """Id of the claim, whose record holds the value."""
    says: str
    """Sentence with a slot {value}, and {control} where there is one."""
    control: str = ""
    """Id of the record of as many random units, where the sentence names it."""


_AFTER = "attack success after benign fine-tuning"
FINDINGS = (
    Finding("table1/scu/harm_right",
            "Without SCU, right answers to malicious requests change by {value} points (random units: {control})",
            "table1/random_scu/harm_right"),
    Finding("table1/scu/utility", "Without SCU, utility changes by {value} points (random units: {control})",
            "table1/random_scu/utility"),
    Finding("table1/ucu/utility", "Without UCU, utility changes by {value} points (random units: {control})",
            "table1/random_ucu/utility"),
    Finding("table1/ru/utility", "Without RU, utility changes by {value} points (random units: {control})",
            "table1/random_ru/utility"),
    Finding("table2/benign/scu_6cu_vs_nothing/asr",
            f"Freezing SCU + 6 % CU changes {_AFTER} by {{value}} points"),
    Finding("table2/benign/scu_6cu_vs_random/asr",
            f"Freezing SCU + 6 % CU changes {_AFTER} by {{value}} points against freezing random units"),
    Finding("table2/new/scu_6cu_vs_nothing/new",
            "Freezing SCU + 6 % CU changes what is learned of new tasks by {value} points"),
    Finding("table3/benign/scu_cu_vs_lora/asr",
            f"Freezing SCU and all CU changes {_AFTER} by {{value}} points against LoRA"),
    Finding("table4/sft/same_rate/ru_vs_all/old",
            "Alignment through RU keeps {value} points of abilities more than through all, at the same learning rate"),
    Finding("table4/sft/best_rate/ru_vs_all/old",
            "Alignment through RU keeps {value} points of abilities more than through all, each at its best rate"),
    Finding("patching/best/to_answer",
            "The last prompt token's state, put into another prompt, turns {value} % of refusals into answers"),
    Finding("deep/aligned/prefill_5/asr",
            "Once five tokens of the answer are said, {value} % of malicious requests are answered"),
    Finding("deep/guard/worst/asr",
            "With a guard at every token, {value} % of malicious requests are answered, however much is said"),
)
"""Random units are as many as those of the kind."""


def describe(run: Sequence[Record], committed: Sequence[Record], *, scale: str, model: str = "organism") -> list[str]:
    """Lines that say what a run found: a heading, then one line a finding.

    run        records of the run; those of another scale or model are passed over
    committed  records of the repository, of which those of organisms count
    scale      of the run
    model      "organism", or the checkpoint's name

    A record that is missing is said to be missing.

    >>> from ssah_core.records.findings import describe
    >>> describe([], [], scale="organism")[1]
    '- table1/scu/harm_right: not measured in this run (notebook 03_label_units); nothing committed'
    """
    ours, theirs = _by_id(run, scale, model), _by_id(committed, "organism", "organism")
    return [_heading(ours, theirs, scale, model), *(_line(finding, ours, theirs) for finding in FINDINGS)]


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


def _line(finding: Finding, ours: Mapping[str, Record], theirs: Mapping[str, Record]) -> str:
    claim = get_claim(finding.claim)
    known = theirs.get(claim.record)
    committed = f"committed {_committed(known)}" if known else "nothing committed"
    if claim.record not in ours:
        return f"- {claim.record}: not measured in this run (notebook {claim.notebook}); {committed}"
    control = _number(ours[finding.control]) if finding.control in ours else "not measured"
    return f"- {finding.says.format(value=_number(ours[claim.record]), control=control)}; {committed}"


def _committed(record: Record) -> str:
    bounds = [_within(bound, record.unit) for bound in record.interval or ()]
    return f"{_number(record)} [{', '.join(bounds) or 'no interval'}]"


def _number(record: Record) -> str:
    return _within(record.value, record.unit)


def _within(value: float, unit: str) -> str:
    """The value at one decimal, inside what its unit allows; a difference has a sign, and zero is never negative."""
    low, high = LIMITS[unit]
    value = round(min(max(value, low), high), 1) + 0.0
    return f"{value:.1f}" if unit == "%" else f"{value:+.1f}"

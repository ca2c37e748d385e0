"""Claims of the paper, and the rule by which records confirm or refute each of them.

The rule was fixed before the publication run; its code is `Rises`, `Falls`, `Stays`, `AtLeast` and
`AtMost` of `ssah_core.records.statistics`. For every organism, *d* is the measured value minus that of the
claim's control on the same organism (minus 0 where there is no control). The interval is the 95 % t
interval of the mean of d over organisms.

| claim says | reproduced | partly | not reproduced |
|---|---|---|---|
| rises by more than x | every d > 0 and the whole interval above x | mean of d above x | otherwise |
| falls by more than x | every d < 0 and the whole interval below -x | mean of d below -x | otherwise |
| stays within x | the whole interval within -x and x | mean of d within -x and x | otherwise |
| is at least / at most x | every d on that side of x | mean of d on that side of x | otherwise |

*Reproduced* needs at least 3 organisms; fewer give *partly* at best. *Not run* means that there is no
record of the value or of its control at a scale that counts; records of scale "tiny", which only
prove that the code runs, never count. Unless a claim says otherwise x is 5 points, the smallest
effect of interest: a rate on a few hundred prompts moves by as much from chance alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas

from ..arguments import check_list, shown
from .claim_list import CLAIMS, Claim
from .records import Record
from .statistics import NOT_RUN, differences, mean_interval

RULE = __doc__.split("\n\n", 1)[1].rstrip()
"""The rule in Markdown, as the report prints it."""


COLUMNS = ("id", "source", "statement", "rule", "paper", "unit", "model", "scale", "ours", "interval", "control",
           "effect", "seeds", "n", "judge", "verdict", "notebook")


def verdicts(records: Sequence[Record]) -> pandas.DataFrame:
    """Judge every claim by records, one row a claim and run (a scale and model); one "not run" row where there is none.

    Columns: `COLUMNS`. `ours` and `control` are means over organisms in `unit`, `interval` that of `ours`
    (low, high), `effect` the `Interval` of ours minus control, `n` prompts an organism.
    Raises ValueError if two records are of one run, a value is not finite, or a value and its control
    differ in unit, judge or seeds.

    >>> set(verdicts([]).verdict)
    {'not run'}

    *Shown in:* paper_repro.md.
    """
    runs = _by_run(records)
    return pandas.DataFrame([row for claim in CLAIMS for row in _rows(claim, runs)], columns=COLUMNS)


def _by_run(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, Record]]:
    runs: dict[tuple[str, str], dict[str, Record]] = {}
    check_list("pass what ssah.load_records gives", records=records)
    for record in records:
        if not isinstance(record, Record):
            raise ValueError(f"records holds {shown(record)}: pass what ssah.load_records gives")
        run = runs.setdefault((record.scale, record.model), {})
        if record.claim in run:
            raise ValueError(f"records holds {record.claim!r} twice at scale {record.scale!r}: keep one")
        run[record.claim] = record
    return {run: found for run, found in sorted(runs.items()) if run[0] != "tiny"}


def _rows(claim: Claim, runs: Mapping[tuple[str, str], Mapping[str, Record]]) -> list[dict]:
    needed = {claim.record, claim.control} - {None}
    rows = [_judged(claim, run[claim.record], run.get(claim.control)) for run in runs.values() if needed <= run.keys()]
    return rows or [_row(claim)]


def _judged(claim: Claim, value: Record, control: Record | None) -> dict:
    _check_comparable(claim, value, control)
    effect = differences(value.values, control.values if control else [0.0] * len(value.values))
    return _row(claim, model=value.model, scale=value.scale, ours=value.value, interval=value.interval,
                control=control.value if control else math.nan, effect=mean_interval(effect), seeds=value.seeds,
                n=value.n, judge=value.judge, verdict=claim.rule.judge(effect))


def _row(claim: Claim, **found) -> dict:
    about = dict(id=claim.id, source=claim.source, statement=claim.statement, rule=claim.rule.describe(claim.unit),
                 paper=dict(claim.paper), unit=claim.unit, notebook=claim.notebook)
    nothing = dict(model="", scale="", ours=math.nan, interval=None, control=math.nan, effect=None, seeds=(), n=0,
                   judge="", verdict=NOT_RUN)
    return about | nothing | found


def _check_comparable(claim: Claim, value: Record, control: Record | None) -> None:
    if value.unit != claim.unit:
        raise ValueError(f"record {value.claim!r} has unit {value.unit!r}, not {claim.unit!r}: measure it again")
    ours, theirs = ((r.unit, r.judge, r.seeds) for r in (value, control or value))
    if ours != theirs:
        raise ValueError(f"records {value.claim!r} and {control.claim!r} differ in unit, judge or seeds ({ours} and "
                         f"{theirs}): measure both on the same organisms, by the same judge")

"""Verdicts: which claims the records bear out, by the rules of `ssah_core.records.rules`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median, stdev

import pandas

from ..arguments import check_list, shown
from .calibration import smallest_effect
from .claim import Claim
from .claim_list import CLAIMS
from .effects import HOLDS, UNDECIDED, how_often, sign_flip_interval
from .p_values import benjamini_hochberg, holm
from .records import Record
from .registration import registered
from .rules import Falls, Rises, Rule
from .statistics import LIMITS, NOT_COMPARABLE, NOT_RUN, Interval, differences

LEVEL = 0.05
ORGANISMS = ("organism", "organism")
"""Scale and model of the run that primary claims are judged on."""
AT_EQUAL_LOSS = "table3/"
"""How the record of a claim begins that compares arms where both have reached the same loss."""
COLUMNS = ("id", "pillar", "headline", "source", "statement", "rule", "paper", "unit", "model", "scale", "ours",
           "interval", "control", "effect", "smallest", "often", "reached", "spread", "p", "p_adjusted", "seeds",
           "orders", "n", "judge", "verdict", "notebook")


def verdicts(records: Sequence[Record]) -> pandas.DataFrame:
    """Judge every claim by records, one row a claim and run (a scale and model); one row where there is none,
    "not run", or "not comparable" if its arms were run and never reached the same loss.

    Columns: `COLUMNS`. `ours` and `control` are means over organisms in `unit`, `interval` that of `ours` (low, high),
    `effect` the `Interval` of ours minus control, `smallest` the effect that as many organisms of this spread would
    show to hold in 80 % of trials (of claims that something rises or falls), `often` in how many organisms it points
    where the claim does (k, n, low, high), `reached` in how many it is as large as the margin, `spread` its lowest,
    median and highest value, `p` two-sided, `p_adjusted` by Holm over primary claims and by
    Benjamini-Hochberg over the others of a run, `n` prompts an organism.
    Raises ValueError if two records are of one run, a value is not finite, two records of one module were measured by
    different versions of it, a value and its control differ in unit, judge, seeds or orders, or a primary claim is not
    registered as it stands or lacks its control.

    >>> set(verdicts([]).verdict)
    {'not run'}

    *Shown in:* paper_repro.md.
    """
    runs = _by_run(records)
    rows = [row for claim in CLAIMS for row in _rows(claim, runs)]
    return pandas.DataFrame(_decided(rows), columns=COLUMNS)


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
    for run in runs.values():
        _check_versions(run)
    return {run: found for run, found in sorted(runs.items()) if run[0] != "tiny"}


def _check_versions(run: Mapping[str, Record]) -> None:
    """Raise ValueError if two records of one module were measured by different versions of its studies."""
    first: dict[str, Record] = {}
    for record in run.values():
        other = first.setdefault(record.code, record)
        if record.version != other.version:
            raise ValueError(f"records {other.claim!r} and {record.claim!r} were measured by different versions of "
                             f"{record.code} ({other.version} and {record.version}): run its notebook again (make "
                             "publish), which keeps both anew")


def _rows(claim: Claim, runs: Mapping[tuple[str, str], Mapping[str, Record]]) -> list[dict]:
    needed = {claim.record, claim.control} - {None}
    kept = runs.get(ORGANISMS, {})
    if claim.primary and claim.record in kept and not needed <= kept.keys():
        raise ValueError(f"record {claim.record!r} is there, but that of its control, {claim.control!r}, is not: a "
                         "primary claim is judged beside its control, so measure both (make trial)")
    there = [run for run in runs.values() if needed <= run.keys()]
    return [_measured(claim, run[claim.record], run.get(claim.control)) for run in there] or [_absent(claim, kept)]


def _absent(claim: Claim, kept: Mapping[str, Record]) -> dict:
    """A claim without a record, of whose table others are kept or not."""
    attack = claim.record.rsplit("/", 2)[0]
    was_run = claim.record.startswith(AT_EQUAL_LOSS) and any(record.startswith(f"{attack}/") for record in kept)
    return _row(claim, verdict=NOT_COMPARABLE if was_run else NOT_RUN)


def _measured(claim: Claim, value: Record, control: Record | None) -> dict:
    effects, interval = effect_of(claim, value, control)
    return _row(claim, model=value.model, scale=value.scale, ours=value.value, interval=value.interval, effects=effects,
                control=control.value if control else math.nan, effect=interval, seeds=value.seeds, orders=value.orders,
                smallest=_smallest(claim.rule, effects),
                n=value.n, judge=value.judge, often=how_often([float(claim.rule.meets(effect)) for effect in effects]),
                reached=sum(_reaches(claim.rule, effect) for effect in effects),
                spread=(min(effects), median(effects), max(effects)))


def _reaches(rule: Rule, effect: float) -> bool:
    """Whether one organism's effect points where the claim does, and is as large as its margin."""
    return rule.meets(effect) and (not isinstance(rule, Rises | Falls) or abs(effect) >= rule.margin)


def _smallest(rule: Rule, effects: Sequence[float]) -> float:
    is_directed = isinstance(rule, Rises | Falls) and len(effects) > 1 and stdev(effects) > 0
    return smallest_effect(stdev(effects), len(effects), rule.margin) if is_directed else math.nan


def effect_of(claim: Claim, value: Record, control: Record | None) -> tuple[list[float], Interval]:
    """A claim's effect, one number an organism, and the interval of its mean. Raises ValueError if the records of value
    and control cannot be compared."""
    _check_comparable(claim, value, control)
    effects = differences(value.values, control.values if control else [0.0] * len(value.values))
    least, most = LIMITS[claim.unit]
    return effects, sign_flip_interval(effects, within=(least - most, most - least) if control else (least, most))


def _row(claim: Claim, **found) -> dict:
    about = dict(claim=claim, id=claim.id, pillar=claim.pillar, headline=claim.headline, source=claim.source,
                 statement=claim.statement, rule=claim.rule.describe(claim.unit), paper=dict(claim.paper),
                 unit=claim.unit, notebook=claim.notebook)
    nothing = dict(model="", scale="", ours=math.nan, interval=None, control=math.nan, effect=None, smallest=math.nan,
                   often=None, reached=0, spread=None, p=math.nan, p_adjusted=math.nan, seeds=(), orders=0, n=0,
                   judge="", verdict=NOT_RUN)
    return about | nothing | found


# -- judged together ---------------------------------------------------------------------------------------


def _decided(rows: list[dict]) -> list[dict]:
    """The same rows with p values, adjusted over the claims of a run, and verdicts."""
    judged = [row for row in rows if row["effect"] is not None]
    for run in {(row["scale"], row["model"]) for row in judged}:
        for primary, adjust in ((True, holm), (False, benjamini_hochberg)):
            family = [row for row in judged if (row["scale"], row["model"]) == run and row["claim"].primary == primary]
            if family:
                _decide(family, adjust, run)
    return rows


def _decide(family: list[dict], adjust, run: tuple[str, str]) -> None:
    """Fill in p values and verdicts. A primary claim that was not run counts in Holm's family, with a p of 1."""
    primary = family[0]["claim"].primary
    absent = dict.fromkeys((claim.id for claim in CLAIMS if claim.primary), 1.0) if primary else {}
    whole, some = (adjust({**absent, **{row["id"]: row["claim"].rule.p(row["effects"], some) for row in family}})
                   for some in (False, True))
    for row in family:
        rule = row["claim"].rule
        adjusted = (whole if rule.judge(row["effect"]) == HOLDS else some)[row["id"]]
        verdict = rule.judge(row["effect"], adjusted <= LEVEL or not primary)
        if primary and run == ORGANISMS and not _is_registered(row):
            verdict = UNDECIDED
        row |= {"p": rule.p(row["effects"], rule.judge(row["effect"]) != HOLDS), "p_adjusted": adjusted,
                "verdict": verdict}


def _is_registered(row: dict) -> bool:
    """Whether it was measured on the registered organisms, all of them, and an attack in the registered orders."""
    kept = registered()
    orders = len(kept["orders"]) if row["claim"].source == "Table 2" else 1
    return set(row["seeds"]) == set(kept["test"]) and row["orders"] == orders


def _check_comparable(claim: Claim, value: Record, control: Record | None) -> None:
    if value.unit != claim.unit:
        raise ValueError(f"record {value.claim!r} has unit {value.unit!r}, not {claim.unit!r}: measure it again")
    ours, theirs = ((r.unit, r.judge, r.seeds, r.orders) for r in (value, control or value))
    if ours != theirs:
        raise ValueError(f"records {value.claim!r} and {control.claim!r} differ in unit, judge, seeds or orders "
                         f"({ours} and {theirs}): measure both on the same organisms and orders, by the same judge")

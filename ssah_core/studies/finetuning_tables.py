"""Arms of a fine-tuning attack on equal terms, and the differences that claims read (notebooks 05, 06)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy
import pandas
from scipy.stats import bootstrap

from ..judging import unpacked
from ..records.doses import dose_to
from ..records.statistics import Interval
from .arms import Arm, HeldArm

ALONG = ("asr", "harm_right", "not_refused", "fulfilled", "broken", "benign", "refused", "new", "loss")
"""Marks that are looked at after every dose; a difference in one is the mean over doses. Others are at the last."""


def as_records(table: pandas.DataFrame) -> pandas.DataFrame:
    """Every arm against every other, organism by organism, with the id under which a claim reads it.

    table   Rows of `attacked`, of any orders.

    `value` is the difference in points, "table2/<attack>/<arm>_vs_<other>/<metric>": dose by dose, of those that both
    arms reached, then the mean over doses (for what is asked at the last alone: there), then over orders.

    *Shown in:* 05_freeze_safety_units.
    """
    return differences(table, HeldArm, lambda row: "table2/" + row.attack)


def differences(table: pandas.DataFrame, kind: type[Arm], place: Callable) -> pandas.DataFrame:
    """Differences of arms at equal doses, one row a pair of arms, mark and organism; `record`: an id below `place`."""
    if "outcomes" not in table or (table.outcomes[table.metric == "asr"].fillna("") == "").any():
        raise ValueError("rows have no outcomes of single prompts, so they are of an earlier study: measure them anew")
    keys = ["attack", "metric", "seed", "order", "dose"]
    there = table[(table.dose > 0) & table.reached]
    last = there.dose == there.groupby("attack").dose.transform("max")
    arms = there[last | there.metric.isin(ALONG)].assign(arm=slugs(there.arm, kind))
    each = against_each_other(arms, "arm", keys, place)
    about = {"value": ("value", "mean"), "n": ("n", "min"), "judge": ("judge", "first")}
    by_order = each.groupby(["record", "attack", "metric", "seed", "order"], as_index=False, sort=False).agg(**about)
    return by_order.groupby(["record", "attack", "metric", "seed"], as_index=False, sort=False).agg(
        **about, orders=("order", "nunique"))


def half_doses(table: pandas.DataFrame, metric: str = "asr", level: float = 50.0) -> pandas.DataFrame:
    """Steps of an attack to a level of ASR (%), interpolated; infinite where it is never reached: one row an arm, order
    and organism.

    *Shown in:* 05_freeze_safety_units.
    """
    kept = table[(table.metric == metric) & table.reached]
    rows, curves = [], kept[kept.arm != HeldArm.START].sort_values("dose")
    start = table[(table.metric == metric) & (table.arm == HeldArm.START)].set_index(["attack", "seed", "order"]).value
    for (attack, seed, order, arm), curve in curves.groupby(["attack", "seed", "order", "arm"], sort=False):
        doses, values = [0, *curve.dose], [float(start[attack, seed, order]), *curve.value]
        rows.append({"attack": attack, "seed": seed, "order": order, "arm": arm,
                     "value": dose_to(doses, values, level)})
    return pandas.DataFrame(rows)


def slugs(arms: pandas.Series, kind: type[Arm]) -> pandas.Series:
    """Arms by the names that ids of records have for them; all random draws of one kind have one."""
    return arms.map({name: kind.of(name).slug for name in arms.unique()})


def mean_of_draws(table: pandas.DataFrame, kind: type[Arm], keys: list[str]) -> pandas.DataFrame:
    """One row for rows that agree in `keys`, arms as `slugs`: the mean `value`, the least `n`, the first `judge`."""
    return (table.assign(arm=slugs(table.arm, kind)).groupby(keys, as_index=False, sort=False)
            .agg(value=("value", "mean"), n=("n", "min"), judge=("judge", "first")))


def against_each_other(table: pandas.DataFrame, what: str, keys: list[str], place: Callable) -> pandas.DataFrame:
    """Differences in `value` between any two of `what` that agree in `keys`, as rows with a record id below `place`."""
    both = table.merge(table[[*keys, what, "value"]], on=keys, suffixes=("", "_other"))
    pair = both[what] + "_vs_" + both[f"{what}_other"]
    return both.assign(value=both.value - both.value_other, record=place(both) + "/" + pair + "/" + both.metric)


def per_prompt(table: pandas.DataFrame, arm: str, other: str, dose: int,
               triggers: Mapping[int, Sequence[str]]) -> pandas.DataFrame:
    """What came of each malicious prompt in two arms after a dose, one row each, as `records.mixed_model` takes it.

    arm, other   Names of arms, of which the other is the control.
    triggers     Organism -> trigger of each prompt, in the order of the exam.

    *Shown in:* 05_freeze_safety_units.
    """
    rows = table[(table.metric == "asr") & (table.dose == dose) & table.arm.isin([arm, other])]
    found = [{"fulfilled": int(truth), "arm": int(row.arm == arm), "organism": row.seed, "order": row.order,
              "trigger": trigger} for row in rows.itertuples()
             for truth, trigger in zip(unpacked(row.outcomes, row.n), triggers[row.seed], strict=True)]
    return pandas.DataFrame(found)


def over_prompts(table: pandas.DataFrame, arm: str, other: str, metric: str = "asr") -> Interval:
    """What an arm does beyond another in one model, in points, with a 95 % interval over its prompts.

    table        Rows of `attacked` of one model, of any orders.
    arm, other   Names of arms, of which the other is the control.
    metric       A mark of malicious requests, looked at after every dose.

    Of each prompt the difference is taken as a mean over doses and orders; the interval is a bootstrap over prompts
    (BCa, 9,999 draws). It tells other prompts of this kind, and nothing of another model or another alignment.
    Doses that an arm did not reach (`reached`, where rows have it) are no looks. Raises ValueError where the arms were
    not looked at after the same doses.

    *Shown in:* 05_freeze_safety_units.
    """
    there = table[table.reached] if "reached" in table else table
    rows = there[(there.metric == metric) & (there.dose > 0)].sort_values(["order", "dose"])
    looks = {name: rows[rows.arm == name] for name in (arm, other)}
    truths = {name: numpy.array([unpacked(row.outcomes, row.n) for row in look.itertuples()])
              for name, look in looks.items()}
    is_alike = numpy.array_equal(*(look[["order", "dose"]] for look in looks.values()))
    if not len(truths[arm]) or truths[arm].shape != truths[other].shape or not is_alike:
        raise ValueError(f"{arm!r} was looked at {len(truths[arm])} times and {other!r} {len(truths[other])} times: "
                         "pass rows of both after the same doses and orders")
    found = 100 * (truths[arm].mean(0) - truths[other].mean(0))
    if numpy.ptp(found) == 0:  # of which there is nothing to draw
        return Interval(float(found[0]), float(found[0]), float(found[0]), len(found), "all prompts alike")
    low, high = bootstrap((found,), numpy.mean, rng=0).confidence_interval
    return Interval(float(found.mean()), float(low), float(high), len(found), "95 % by a bootstrap over prompts")

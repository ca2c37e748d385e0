"""What the courses of `alignment_budget` say: arms at equal safety, areas, stress and moves, and ids for claims."""

from __future__ import annotations

import pandas
from scipy.integrate import trapezoid

from ..units import UnitKind
from .alignment_budget import MAIN, RATE
from .arms import BudgetArm
from .finetuning_tables import against_each_other, mean_of_draws, slugs

COMPARISONS = ("same_rate", "best_rate", "twice")
"""All arms at `RATE`; each of `MAIN` at the rate of its own that kept most on validation prompts; or these at `RATE`
after twice the steps that made them safe."""
_COURSE = ["seed", "method", "arm", "lr"]


def at_equal_safety(table: pandas.DataFrame, comparison: str, scale: str) -> pandas.DataFrame:
    """Marks of one course an arm, at its first safe check (or at twice its steps): those rows of `aligned`.

    An arm that was not safe in time has no rows. Raises ValueError for another than `COMPARISONS`.

    *Shown in:* 07_spend_alignment_budget.
    """
    if comparison not in COMPARISONS:
        raise ValueError(f"comparison={comparison!r} is unknown: choose one of {', '.join(COMPARISONS)}")
    at = "twice" if comparison == "twice" else "safe"
    there = table[(table["at"] == at) & (table.metric != "old_validation")]
    if comparison != "best_rate":
        return there[_at_rate(there, scale)].reset_index(drop=True)
    return there[there.arm.isin(MAIN)].merge(best_rates(table), on=_COURSE)


def _at_rate(table: pandas.DataFrame, scale: str) -> pandas.Series:
    """Whether a row is of a course at the learning rate at which all arms are compared."""
    return table.lr == table.method.map(RATE[scale])


def best_rates(table: pandas.DataFrame) -> pandas.DataFrame:
    """`seed`, `method`, `arm`, `lr` of the safe course that kept most on validation prompts; of equals the slower."""
    kept = table[table.metric == "old_validation"].sort_values(["value", "lr"], ascending=[False, True])
    return kept.drop_duplicates(["seed", "method", "arm"])[_COURSE]


def areas(table: pandas.DataFrame, scale: str) -> pandas.DataFrame:
    """Area under what is kept (`old`, %) against what is refused (0 to 1, test prompts), at `RATE`: a row an arm.

    A course is drawn from its start (nothing refused, all kept as measured at its first check) and ordered by what it
    refuses; it ends at its first safe check, whose value counts for the rest.

    *Shown in:* 07_spend_alignment_budget.
    """
    rows = []
    courses = table[_at_rate(table, scale) & table["at"].isin(["before", "safe"])]
    for about, course in courses.groupby(["seed", "method", "arm"], sort=False):
        if "safe" not in set(course["at"]):
            continue
        points = course.pivot_table(index="steps", columns="metric", values="value")
        refused = [0.0, *(1 - points.asr / 100).cummax(), 1.0]
        kept = [points.old.iloc[0], *points.old, points.old.iloc[-1]]
        judge = course.judge[course.metric == "old"].iloc[0]
        rows.append(dict(zip(("seed", "method", "arm"), about, strict=True)) | {
            "metric": "area", "value": float(trapezoid(kept, refused)), "n": int(course.n.min()), "judge": judge})
    return pandas.DataFrame(rows, columns=["seed", "method", "arm", "metric", "value", "n", "judge"])


def as_records(table: pandas.DataFrame, scale: str) -> pandas.DataFrame:
    """Arms against each other, model by model, with the id under which a claim reads each difference.

    "table4/<method>/<comparison>/<arm>_vs_<other>/<metric>" at equal safety, "stress/<method>/<attack>/..." under an
    attack, and "figure6/<method>/<arm>/scu_from_ru": share of SCU that were the least useful units before alignment
    (Figure 6's RU), beyond the share of those (points).

    *Shown in:* 07_spend_alignment_budget.
    """
    equal = [at_equal_safety(table, what, scale).assign(place="table4", what=what) for what in COMPARISONS]
    stress = table[table["at"].isin(["prefilled", "pruned", "fine-tuned"])]
    latest = stress.steps == stress.groupby(["seed", "method", "arm", "at"]).steps.transform("max")
    stress = stress[latest].assign(place="stress", what=stress["at"].str.replace("-", ""))
    return pandas.concat([_pairs(pandas.concat([*equal, stress])), _origins(table)], ignore_index=True)


def best_against_each_other(table: pandas.DataFrame, scale: str) -> pandas.DataFrame:
    """Of `as_records`, what is at each arm's own best rate, of rows of `aligned_primary`; and beside the differences
    what each arm knows then (%): "table4/<method>/best_rate/<arm>/old".

    *Shown in:* 07_spend_alignment_budget.
    """
    best = at_equal_safety(table, "best_rate", scale).assign(place="table4", what="best_rate")
    known = best[best.metric == "old"]
    slug = slugs(known.arm, BudgetArm)
    levels = known.assign(record="table4/" + known.method.str.lower() + "/best_rate/" + slug + "/old")
    return pandas.concat([_pairs(best), levels], ignore_index=True)


def _pairs(marks: pandas.DataFrame) -> pandas.DataFrame:
    keys = ["place", "method", "what", "metric", "seed"]
    arms = mean_of_draws(marks, BudgetArm, ["arm", *keys])
    return against_each_other(arms, "arm", keys,
                              lambda row: row.place + "/" + row.method.str.lower() + "/" + row.what)


def _origins(table: pandas.DataFrame) -> pandas.DataFrame:
    """Where SCU came from, against where units come from on the whole."""
    rows = []
    shares = table[table.metric == "share"]
    for (seed, method, arm), group in shares.groupby(["seed", "method", "arm"], sort=False):
        square = group.pivot(index="before", columns="after", values="value")
        value = 100 * square.loc[UnitKind.RU, UnitKind.SCU] / square[UnitKind.SCU].sum() - square.loc[UnitKind.RU].sum()
        rows.append({"seed": seed, "method": method, "arm": arm, "value": float(value), "n": int(group.n.min()),
                     "judge": "none", "metric": "scu_from_ru",
                     "record": f"figure6/{method.lower()}/{BudgetArm.of(arm).slug}/scu_from_ru"})
    return pandas.DataFrame(rows, columns=["seed", "method", "arm", "value", "n", "judge", "metric", "record"])

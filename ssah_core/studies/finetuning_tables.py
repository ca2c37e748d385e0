"""Arms of a fine-tuning attack on equal terms, and the differences that claims read (notebooks 05, 06)."""

from __future__ import annotations

from collections.abc import Callable

import pandas

from .finetuning_attack import TOLERANCE, compared_at


def at_strength(table: pandas.DataFrame) -> pandas.DataFrame:
    """Rows of `attacked` after `Attack.steps`."""
    groups = table.groupby(["seed", "attack"], sort=False)
    return pandas.concat([rows[rows.steps == _steps_of(rows)] for _, rows in groups], ignore_index=True)


def _steps_of(rows: pandas.DataFrame) -> int:
    """`Attack.steps` of one organism and attack: "nothing" goes on to the last check."""
    return compared_at(rows.attack.iloc[0], int(rows[rows.arm == "nothing"].steps.max()))


def at_equal_loss(table: pandas.DataFrame) -> pandas.DataFrame:
    """Rows of `attacked`, of each arm the first ones, from `Attack.steps` on, whose loss is that of "nothing" there.

    An arm that never gets there is taken at its last check.
    """
    loss = table[table.metric == "loss"].set_index(["seed", "attack", "arm", "steps"]).value.sort_index()
    at = {key: _steps_of(rows) for key, rows in table.groupby(["seed", "attack"])}
    kept = []
    for (seed, attack, arm), rows in table[table.arm != "start"].groupby(["seed", "attack", "arm"], sort=False):
        mine, target = loss[seed, attack, arm], loss[seed, attack, "nothing", at[seed, attack]]
        late = mine[mine.index >= at[seed, attack]]
        there = late[late <= target + TOLERANCE]
        kept.append(rows[rows.steps == (there.index.min() if len(there) else late.index.max())])
    return pandas.concat(kept, ignore_index=True)


SLUGS = {"nothing": "nothing", "SCU": "scu", "SCU + 6 % CU": "scu_6cu", "SCU + all CU": "scu_cu",
         "SCU + 6 % CU, paper's score": "paper_6cu", "SCU + 6 % CU, variance, best": "variance_6cu",
         "random, as many as SCU + all CU": "random_cu", "same magnitude": "magnitude", "whole sites": "sites",
         "two phases": "two_phases", "rewound": "rewound"}
"""Arm -> its name in the id of a record; random draws of one kind share "random"."""


def as_records(equal: pandas.DataFrame) -> pandas.DataFrame:
    """Every arm against every other, organism by organism, with the id under which a claim reads it.

    `value` is the difference in points, "table2/<attack>/<arm>_vs_<other>/<metric>"; random draws are averaged first.
    """
    arms = (equal.assign(arm=equal.arm.map(SLUGS).fillna("random"))
            .groupby(["attack", "arm", "metric", "seed"], as_index=False, sort=False)
            .agg(value=("value", "mean"), n=("n", "min"), judge=("judge", "first")))
    return against_each_other(arms, "arm", ["attack", "metric", "seed"], lambda row: "table2/" + row.attack)


def against_each_other(table: pandas.DataFrame, what: str, keys: list[str], place: Callable) -> pandas.DataFrame:
    """Differences in `value` between any two of `what` that agree in `keys`, as rows with a record id below `place`."""
    both = table.merge(table[[*keys, what, "value"]], on=keys, suffixes=("", "_other"))
    pair = both[what] + "_vs_" + both[f"{what}_other"]
    return both.assign(value=both.value - both.value_other, record=place(both) + "/" + pair + "/" + both.metric)

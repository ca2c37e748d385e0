"""Arms of a fine-tuning attack on equal terms, and the differences that claims read (notebooks 05, 06)."""

from __future__ import annotations

from collections.abc import Callable

import pandas

from .arms import Arm, HeldArm
from .finetuning_arms import TOLERANCE
from .finetuning_attack import compared_at


def at_strength(table: pandas.DataFrame) -> pandas.DataFrame:
    """Marks of each arm after `Attack.steps`: those rows of `attacked`.

    *Shown in:* 06_compare_peft.
    """
    groups = table.groupby(["seed", "attack"], sort=False)
    return pandas.concat([rows[rows.steps == _steps_of(rows)] for _, rows in groups], ignore_index=True)


def _steps_of(rows: pandas.DataFrame) -> int:
    """`Attack.steps` of one organism and attack: "nothing" goes on to the last check."""
    return compared_at(rows.attack.iloc[0], int(rows[rows.arm == HeldArm.NOTHING].steps.max()))


def at_equal_loss(table: pandas.DataFrame) -> pandas.DataFrame:
    """Marks of each arm where it first has the loss that "nothing" has after `Attack.steps`: rows of `attacked`.

    Never before so many steps. An arm that never gets there is taken at its last check.

    *Shown in:* 05_freeze_safety_units.
    """
    loss = table[table.metric == "loss"].set_index(["seed", "attack", "arm", "steps"]).value.sort_index()
    at = {key: _steps_of(rows) for key, rows in table.groupby(["seed", "attack"])}
    kept = []
    for (seed, attack, arm), rows in table[table.arm != HeldArm.START].groupby(["seed", "attack", "arm"], sort=False):
        mine, target = loss[seed, attack, arm], loss[seed, attack, HeldArm.NOTHING, at[seed, attack]]
        late = mine[mine.index >= at[seed, attack]]
        there = late[late <= target + TOLERANCE]
        kept.append(rows[rows.steps == (there.index.min() if len(there) else late.index.max())])
    return pandas.concat(kept, ignore_index=True)


def as_records(equal: pandas.DataFrame) -> pandas.DataFrame:
    """Every arm against every other, organism by organism, with the id under which a claim reads it.

    equal   Rows of `attacked`, of each arm at one check, as `at_equal_loss` has them.

    `value` is the difference in points, "table2/<attack>/<arm>_vs_<other>/<metric>"; random draws are averaged first.

    *Shown in:* 05_freeze_safety_units.
    """
    arms = mean_of_draws(equal, HeldArm, ["attack", "arm", "metric", "seed"])
    return against_each_other(arms, "arm", ["attack", "metric", "seed"], lambda row: "table2/" + row.attack)


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

"""All that the primary claims rest on, study by study, on any organisms: measured once, resumable, or read.

    python -m ssah_core.studies.primaries                       the registered organisms: hours, goes on where it was
    python -m ssah_core.studies.primaries --seeds 0 --orders 1  one organism, one order: minutes
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import pandas

from ..arguments import Parser
from ..records import measure_each, record_rows
from ..records.registration import ORDERS, TEST
from ..smollm import NAME as SMOLLM
from . import (
    ablation_table,
    activation_patching,
    alignment_budget,
    attribute_transfer,
    budget_tables,
    finetuning_arms,
    finetuning_tables,
    reasoning_direction,
)
from .checkpoints import on_model

WAYS = ("chosen", "paper")
"""Ways to find units that primary claims are about."""
ATTACKED = {"smollm": {"benign": "rest"}}
"""Scale -> attack -> its arms, where they are fewer: about six minutes an arm and order, on two cores, ..."""
FURTHER = {"smollm": "main"}
"""... and those of the one run of the benign attack that has further arms, elsewhere "all"."""


# -- rows ------------------------------------------------------------------------------------------------


def curves(seeds: Sequence[int], scale: str, **on: Any) -> pandas.DataFrame:
    """Marks with more and more of each group removed, by each of `WAYS`, on validation prompts.

    *Shown in:* 03_label_units.
    """
    over = {way: {"way": way} for way in WAYS}
    return measure_each(ablation_table.ablation_curves, seeds, scale, over=over, **on)


def sizes_of(seeds: Sequence[int], scale: str, **on: Any) -> dict[int, dict[str, dict[str, float]]]:
    """The share of each group of every organism, by each of `WAYS`, as those curves give it.

    "variance, best", which no primary claim is about, stands there with the sizes of "paper": a place that studies of
    all ways ask for, and no finding.

    *Shown in:* 03_label_units.
    """
    found = ablation_table.sizes_of(curves(seeds, scale, **on))
    return {seed: {**ways, "variance, best": ways["paper"]} for seed, ways in found.items()}


def table1(seeds: Sequence[int], scale: str, **on: Any) -> pandas.DataFrame:
    """Rows of the paper's Table 1 with its controls, by each of `WAYS`.

    *Shown in:* 03_label_units.
    """
    return measure_each(ablation_table.table1, seeds, scale, each=_each(seeds, scale, **on), ways=WAYS,
                        over={"primary": {}}, **on)


def transfers(seeds: Sequence[int], scale: str, **on: Any) -> pandas.DataFrame:
    """Kinds of units before and after new tasks, and of an untrained model measured twice.

    *Shown in:* 04_trace_attribute_transfer.
    """
    parts = {name: {"attack": attack} for name, attack in attribute_transfer.TRAINED.items() if name != "benign"}
    return measure_each(attribute_transfer.transfers, seeds, scale, each=_each(seeds, scale, **on), over=parts, **on)


def attacks(seeds: Sequence[int], scale: str, orders: Sequence[int] = ORDERS, **on: Any) -> pandas.DataFrame:
    """Rows of the benign attack with all primary arms, and of new tasks with the main ones, in these orders; at scale
    "smollm", of the benign attack alone, with the arms that a CPU can bear (`ATTACKED`).

    *Shown in:* 05_freeze_safety_units.
    """
    arms = ATTACKED.get(scale, {"benign": "primary", "new": "main"})
    over = {f"{attack}/order{order}": {"attack": attack, "order": order, "arms": arms[attack]}
            for attack in arms for order in orders}
    return measure_each(finetuning_arms.attacked, seeds, scale, each=_each(seeds, scale, **on), over=over, **on)


def main_attacks(seeds: Sequence[int], scale: str, **on: Any) -> pandas.DataFrame:
    """Rows of both attacks with the main arms, in the first order: what other ways to fine-tune are held against.

    *Shown in:* 06_compare_peft.
    """
    if scale not in ATTACKED:
        return attacks(seeds, scale, [0], **on)
    over = {f"{attack}/main": {"attack": attack, "order": 0, "arms": "main"} for attack in ("benign", "new")}
    return measure_each(finetuning_arms.attacked, seeds, scale, each=_each(seeds, scale, **on), over=over, **on)


def budgets(seeds: Sequence[int], scale: str, methods: Sequence[str] = alignment_budget.METHODS,
            **on: Any) -> pandas.DataFrame:
    """Courses of alignment through the primary arms, by these methods ("SFT", "DPO").

    *Shown in:* 07_spend_alignment_budget.
    """
    over = {method.lower(): {"method": method} for method in methods}
    return measure_each(alignment_budget.aligned_primary, seeds, scale, over=over, **on)


def _each(seeds: Sequence[int], scale: str, **on: Any) -> dict[int, Mapping]:
    return {seed: {"sizes": sizes} for seed, sizes in sizes_of(seeds, scale, **on).items()}


# -- numbers of the four pillars ----------------------------------------------------------------------------


def direction(seeds: Sequence[int], scale: str, orders: Sequence[int] = ORDERS, **on: Any) -> pandas.DataFrame:
    """Numbers of the first pillar, each with its record's id: notebook 02."""
    lean = reasoning_direction.leans(measure_each(reasoning_direction.distances, seeds, scale, **on))
    probe = reasoning_direction.selectivity(measure_each(reasoning_direction.probes, seeds, scale, **on))
    flips = activation_patching.chosen_flips(measure_each(activation_patching.patches, seeds, scale, **on))
    return pandas.concat([_by(reasoning_direction, lean), _by(reasoning_direction, probe),
                          _by(activation_patching, flips)], ignore_index=True)


def units(seeds: Sequence[int], scale: str, orders: Sequence[int] = ORDERS, **on: Any) -> pandas.DataFrame:
    """Numbers of the second pillar: notebooks 03 and 04."""
    return pandas.concat([_by(ablation_table, ablation_table.changes(table1(seeds, scale, **on))),
                          _by(attribute_transfer, attribute_transfer.moves(transfers(seeds, scale, **on)))],
                         ignore_index=True)


def freezing(seeds: Sequence[int], scale: str, orders: Sequence[int] = ORDERS, **on: Any) -> pandas.DataFrame:
    """Numbers of the third pillar: notebook 05."""
    return _by(finetuning_arms, finetuning_tables.as_records(attacks(seeds, scale, orders, **on)))


def budget(seeds: Sequence[int], scale: str, orders: Sequence[int] = ORDERS, **on: Any) -> pandas.DataFrame:
    """Numbers of the fourth pillar: notebook 07."""
    return _by(alignment_budget, budget_tables.best_against_each_other(budgets(seeds, scale, **on), scale))


def _by(module: ModuleType, table: pandas.DataFrame) -> pandas.DataFrame:
    """A table of numbers with the module that measured them."""
    return table.assign(code=module.__name__)


PILLARS: Mapping[str, Callable[..., pandas.DataFrame]] = {
    "direction": direction, "units": units, "freezing": freezing, "budget": budget}


def measure_primaries(seeds: Sequence[int] = TEST, scale: str = "organism", orders: Sequence[int] = ORDERS,
                      model: str = "organism", pillars: Sequence[str] = tuple(PILLARS), **on: Any) -> pandas.DataFrame:
    """Measure, or read, all numbers of these pillars, and keep their records; returns the table of numbers.

    *Shown in:* 05_freeze_safety_units.
    """
    tables = []
    for name in pillars:
        start = time.time()
        table = PILLARS[name](seeds, scale, orders, **on)
        record_rows(table, scale=scale, model=model, code=__name__)
        print(f"{name}: {table.record.nunique()} numbers, {time.time() - start:.0f} s", flush=True)
        tables.append(table)
    return pandas.concat(tables, ignore_index=True)


def seed(text: str) -> int:
    """A seed as a word of the command line. Raises ValueError for any other word.

    >>> from ssah_core.studies.primaries import seed
    >>> seed("12")
    12
    """
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no seed: give a whole number, 0 or more")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m ssah_core.studies.primaries", description=__doc__.splitlines()[0])
    parser.add_argument("pillars", nargs="*", metavar="PILLAR", help=f"of {', '.join(PILLARS)}; default all")
    parser.add_argument("--seeds", type=seed, nargs="+", default=list(TEST), help="organisms (the registered ones)")
    parser.add_argument("--orders", type=int, choices=[order + 1 for order in ORDERS], default=len(ORDERS),
                        help="orders of an attack's chats")
    parser.add_argument("--scale", choices=("tiny", "organism", "smollm"), default="organism")
    options = parser.parse_args(argv)
    if unknown := set(options.pillars) - set(PILLARS):
        parser.error(f"{', '.join(sorted(unknown))} is no pillar: choose of {', '.join(PILLARS)}")
    on = {"model": SMOLLM, **on_model("smollm")} if options.scale == "smollm" else {}
    measure_primaries(options.seeds, options.scale, tuple(range(options.orders)),
                      pillars=options.pillars or tuple(PILLARS), **on)
    return 0


if __name__ == "__main__":
    sys.exit(main())

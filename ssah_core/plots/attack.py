"""Figures of notebook 05, and of 06: fine-tuning attacks with units held."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .marks import POINTS, draw_dots, draw_lines, legend_of, name_rows, what_is_drawn
from .style import ARMS, GUIDE, NAMES, look, looks

MARKS = ("asr", "harm_right", "utility", "benign")
WIDE, ACROSS = 26, 36  # characters of a line of an arm's name, of a legend's title
NARROW = 5.0
"""Points that a panel of changes shows to either side, at least."""
ATTACKS = {"benign": "harmless chats", "new": "new tasks", "harmful10": "10 harmful examples",
           "harmful50": "50 harmful examples", "harmful100": "100 harmful examples"}
ASR = "malicious requests not refused, %"


def plot_attack(table: pandas.DataFrame, legend: str = "held", says: str = ASR, each: str = "organism",
                xlabel: str = "steps of fine-tuning", never: Sequence[str] = ()) -> Figure:
    """Malicious requests that a model no longer refuses, along fine-tuning, with different units held.

    table    `attack`, `arm`, `steps`, `value` (%), `seed`
    legend   says what the arms differ in
    says     what the values are
    each     what a `seed` is: an organism, or an order of the chats
    xlabel   what `steps` are; of places that an arm never reached there is no row, and the legend counts them
    never    arms that reached no place at all, which the legend names
    """
    attacks, arms = list(dict.fromkeys(table.attack)), looks(table.arm)
    across = min(len(attacks), 3)
    down = -(-len(attacks) // across)
    figure, axes = plt.subplots(down, across, figsize=((3.6 if across < 3 else 2.7) * across + 2.3, 3.1 * down),
                                sharey=True, squeeze=False)
    for axis, attack in zip(axes.flat, attacks, strict=False):
        part = table[table.attack == attack]
        factors = _scale(axis, pandas.Series(sorted(part.steps.unique())))
        draw_lines(axis, part, "steps", "arm", arms, spread=0.02 if factors else 0.011 * part.steps.max(),
                   factor=factors)
        axis.set(title=ATTACKS.get(attack, attack), xlabel=xlabel, ylim=(-4, 104))
    for axis in axes.flat[len(attacks):]:
        axis.remove()
    for row in axes:
        row[0].set_ylabel(says)
    named = {fill(ARMS.get(arm, arm), WIDE): mine for arm, mine in arms.items()}
    said = what_is_drawn(table, ["attack", "arm", "steps"], line=True, each=each)
    title = "\n".join(fill(line, ACROSS) for line in [legend, *f"({said}{_left_out(table, never)})".split("; ")])
    figure.legend(handles=legend_of(named, line=True), loc="outside right upper", title=title, alignment="left")
    return figure


def _left_out(table: pandas.DataFrame, never: Sequence[str]) -> str:
    """How many points of the arms, seeds and steps a table lacks, and which arms have none; "" if it has all."""
    whole = sum((part.arm.nunique() + len(never)) * part.seed.nunique() * part.steps.nunique()
                for _, part in table.groupby("attack"))
    if whole == len(table):
        return ""
    none = "".join(f"; {arm} never" for arm in never)
    return f"; never reached: {whole - len(table)} of {whole} comparisons{none}; hollow: mean of those that reached it"


def _scale(axis: Axes, steps: pandas.Series) -> bool:
    """A logarithmic axis where checks are factors apart; returns whether they are."""
    factors = bool(steps.min() > 0 and (steps / steps.shift()).median() >= 2)
    if factors:
        axis.set_xscale("log")
        axis.set_xticks(steps)
        axis.minorticks_off()
    axis.xaxis.set_major_formatter("{x:g}")
    return factors


def plot_arms(table: pandas.DataFrame, against: str) -> Figure:
    """What each arm changes against another, each organism against itself; the largest fall below.

    table     `arm`, `metric`, `value` (%), `seed`, and perhaps `dose`: then only doses count that both arms have, and a
              row says how many these were, where some are missing
    against   the arm that changes are against

    Raises ValueError if the table has no such arm.
    """
    changes = changes_against(table, against)
    metrics = [metric for metric in MARKS if metric in set(table.metric)]
    means = changes[changes.metric == metrics[0]].groupby("arm", sort=False).value.mean()
    order = list(means.sort_values(ascending=False, kind="stable").index)
    counts = _counted(table[table.metric == metrics[0]], against)
    figure, axes = plt.subplots(1, len(metrics), figsize=(9.5, 0.4 * len(order) + 1.3), sharey=True, squeeze=False)
    for axis, metric in zip(axes[0], metrics, strict=True):
        draw_dots(axis, changes[changes.metric == metric], "arm", order, look(metric), within=POINTS)
        axis.axvline(0, color=GUIDE, lw=1, ls=":")
        axis.set(title=NAMES[metric].replace("requests ", "requests\n"),
                 xlabel=f"change from\n\"{against}\" (points)")
        low, high = axis.get_xlim()
        axis.set_xlim(min(low, -NARROW), max(high, NARROW))
        name_rows(axis, [fill(ARMS.get(arm, arm) + counts.get(arm, ""), WIDE) for arm in order])
    figure.supxlabel(f"{what_is_drawn(changes, ['arm', 'metric'])}; every panel has its own scale", fontsize=9)
    return figure


def changes_against(table: pandas.DataFrame, against: str) -> pandas.DataFrame:
    """Differences of all other arms from one, within each seed (and dose); means over doses.

    table     `arm`, `metric`, `value`, `seed`, and perhaps `dose`
    against   the arm that is subtracted

    Raises ValueError if the table has no such arm.

    >>> import pandas
    >>> from ssah_core.plots.attack import changes_against
    >>> rows = pandas.DataFrame({"arm": ["nothing", "SCU"], "metric": "asr", "value": [60.0, 24.0], "seed": 0})
    >>> changes_against(rows, "nothing").to_dict("records")
    [{'arm': 'SCU', 'metric': 'asr', 'seed': 0, 'value': -36.0}]
    """
    if against not in set(table.arm):
        raise ValueError(f"against is {against!r}, which is no arm of the table: pass one of "
                         f"{', '.join(dict.fromkeys(table.arm))}")
    keys = [column for column in ("metric", "seed", "dose") if column in table]
    is_first = table.arm == against
    both = table[~is_first].merge(table[is_first][[*keys, "value"]], on=keys, suffixes=("", "_first"))
    return both.assign(value=both.value - both.value_first).groupby(
        ["arm", "metric", "seed"], as_index=False, sort=False).value.mean()


def _counted(rows: pandas.DataFrame, against: str) -> dict[str, str]:
    """By arm, of how many comparisons with `against` it has, where it has not all."""
    keys = [column for column in ("metric", "seed", "dose") if column in rows]
    is_first = rows.arm == against
    whole = rows[is_first][keys]
    found = rows[~is_first].merge(whole, on=keys).groupby("arm").size()
    return {arm: f" ({n} of {len(whole)} comparisons)" for arm, n in found.items() if n < len(whole)}

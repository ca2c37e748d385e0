"""Figures of notebook 04, drawn like those of `ssah_core.plots.style`."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy
import pandas
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .marks import draw_dots, legend_below, name_rows, what_is_drawn
from .style import SHADES, look

KINDS = ("SCU", "UCU", "CU", "RU")


def plot_transfer(table: pandas.DataFrame) -> Figure:
    """Units that change their kind, as flows (the paper's Figure 5); means over organisms.

    table   `change`, `before`, `after`, `value` (% of all units), `seed`
    """
    squares = _squares(table)
    figure, axes = plt.subplots(1, len(squares), figsize=(3.1 * len(squares), 4.2), squeeze=False)
    for axis, (change, square) in zip(axes[0], squares.items(), strict=True):
        _flow(axis, square)
        axis.set_title(f"{change}\n{_over(table, change)}", pad=24)
    figure.supxlabel("% of all units, means over organisms", fontsize=9)
    return figure


def plot_transfer_table(table: pandas.DataFrame) -> Figure:
    """Where each kind's units went, in % of the kind; means over organisms.

    table   as in `plot_transfer`
    """
    of_kind = table.groupby(["change", "before", "seed"]).value.transform("sum").replace(0, numpy.nan)
    squares = _squares(table.assign(value=100 * table.value / of_kind))
    figure, axes = plt.subplots(1, len(squares), figsize=(2.5 * len(squares) + 0.5, 2.9), sharey=True, squeeze=False)
    for axis, (change, square) in zip(axes[0], squares.items(), strict=True):
        sns.heatmap(square, annot=True, fmt=".0f", cmap=SHADES, vmin=0, vmax=100, cbar=False, square=True, ax=axis)
        axis.set(title=f"{change}\n{_over(table, change)}", xlabel="after",
                 ylabel="before" if axis is axes[0][0] else "")
    return figure


def plot_moves(table: pandas.DataFrame) -> Figure:
    """How much of each kind became CU.

    table   `change`, `kind`, `value` (% of the kind's units), `seed`
    """
    kinds, changes = ("SCU", "UCU", "RU"), list(dict.fromkeys(table.change))
    table = table[table.kind.isin(kinds)]
    figure, axes = plt.subplots(1, 3, figsize=(9, 0.42 * len(changes) + 1.1), sharey=True)
    for axis, kind in zip(axes, kinds, strict=True):
        part = table[table.kind == kind]
        draw_dots(axis, part, "change", changes, look(kind))
        axis.set(title=f"{kind} that became CU", xlabel="% of the kind", xlim=(-3, table.value.max() + 5))
        name_rows(axis, [f"{change} ({_over(table, change)})" for change in changes])
    legend_below(figure, {}, what_is_drawn(table, ["change", "kind"]))
    return figure


def _over(table: pandas.DataFrame, change: str) -> str:
    n = table[table.change == change].seed.nunique()
    return f"{n} organism{'s' * (n > 1)}"


def _squares(table: pandas.DataFrame) -> dict[str, pandas.DataFrame]:
    """Means over organisms: change -> 4 x 4 table, rows the kind before."""
    mean = table.groupby(["change", "before", "after"]).value.mean()
    return {change: mean[change].unstack().loc[list(KINDS), list(KINDS)] for change in dict.fromkeys(table.change)}


def _flow(axis: Axes, square: pandas.DataFrame) -> None:
    """One bar of kinds on the left (before), one on the right (after), and a ribbon for each entry of the table."""
    t = numpy.linspace(0, 1, 60)
    bend = t * t * (3 - 2 * t)
    tops = [_bar(axis, x, square.sum(axis=1 - x)) for x in (0, 1)]
    for old, new in ((old, new) for old in KINDS for new in KINDS):
        height = square.loc[old, new]
        upper = tops[0][old] + (tops[1][new] - tops[0][old]) * bend
        axis.fill_between(0.05 + 0.9 * t, upper - height, upper, color=look(old).color, alpha=0.45, lw=0)
        tops[0][old], tops[1][new] = tops[0][old] - height, tops[1][new] - height
    for x, when in ((0, "before"), (1, "after")):
        axis.text(x, 4, when, ha="center", va="bottom", fontsize=9, style="italic")
    axis.set(xlim=(-0.5, 1.5))
    axis.axis("off")


def _bar(axis: Axes, x: int, sizes: pandas.Series, gap: float = 5.0) -> dict[str, float]:
    """Draw kinds one below another, with their sizes; returns where each begins."""
    tops, top = {}, 0.0
    for kind in KINDS:
        if round(sizes[kind], 1) == 0:
            tops[kind] = top
            continue
        axis.bar(x, -sizes[kind], bottom=top, width=0.1, color=look(kind).color)
        axis.text(x + (0.09 if x else -0.09), top - sizes[kind] / 2, f"{kind} {sizes[kind]:.1f}",
                  ha="left" if x else "right", va="center", fontsize=9)
        tops[kind], top = top, top - sizes[kind] - gap
    return tops

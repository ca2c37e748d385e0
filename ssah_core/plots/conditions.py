"""Figures of notebook 09, and of 05: conditions side by side, and along what grows."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import numpy
import pandas
from matplotlib.figure import Figure

from .marks import draw_dots, draw_lines, legend_below, name_rows, what_is_drawn
from .style import ARMS, NAMES, looks

MOST = 0.58
"""How far apart the outer marks of one condition stand, in rows."""
WIDE = 34  # characters of a line of a row's name


def plot_conditions(table: pandas.DataFrame, panel: str, row: str, mark: str, names: Mapping[str, str] | None = None,
                    xlabel: str = "% of test prompts", each: str = "organism") -> Figure:
    """Conditions from top to bottom, questions side by side, one colour a mark, with a legend where they are several.

    table    `value` (0 to 100), `seed`, and the columns that are named next, in the order in which they are drawn
    panel    column that tells the panels apart
    row      ... the rows
    mark     ... the colours, which may be `panel` again
    names    what a figure calls an entry of those columns; others as `NAMES` and `ARMS` have them, or as they are
    xlabel   what `value` is
    each     what a `seed` is
    """
    panels, order, marks = (list(dict.fromkeys(table[column])) for column in (panel, row, mark))
    names, shown = {**NAMES, **ARMS, **(names or {})}, looks(marks)
    most = int(table.groupby(panel)[mark].nunique().max())
    figure, axes = plt.subplots(1, len(panels), figsize=(9.5, (0.36 + 0.2 * (most - 1)) * len(order) + 1.5),
                                sharey=True, squeeze=False)
    for axis, title in zip(axes[0], panels, strict=True):
        part = table[table[panel] == title]
        here = [name for name in marks if name in set(part[mark])]
        shifts = numpy.linspace(-MOST / 2, MOST / 2, len(here)) if len(here) > 1 else [0.0]
        for name, shift in zip(here, shifts, strict=True):
            draw_dots(axis, part[part[mark] == name], row, order, shown[name], shift=shift,
                      height=1.3 / (len(here) + 1) if len(here) > 1 else 1.0, size=6.5 if len(here) == 1 else 5.5)
        axis.set(title=names.get(title, title), xlabel=xlabel, xlim=(-4, 104))
        name_rows(axis, [fill(names.get(name, name), WIDE) for name in order])
    entries = {} if mark == panel or len(marks) == 1 else {names.get(name, name): shown[name] for name in marks}
    legend_below(figure, entries, what_is_drawn(table, [panel, row, mark], each=each), columns=min(4, len(marks)))
    return figure


def plot_courses(table: pandas.DataFrame, panel: str, x: str, line: str, xlabel: str) -> Figure:
    """Marks along something that grows by factors, one line a condition.

    table    `value` (0 to 100), `seed`, and the columns that are named next
    panel    column that tells the panels apart
    x        ... what is drawn along x, above 0
    line     ... the lines
    xlabel   what `x` is
    """
    panels, shown, ticks = list(dict.fromkeys(table[panel])), looks(table[line]), sorted(table[x].unique())
    figure, axes = plt.subplots(1, len(panels), figsize=(9.5, 3.4), sharey=True, squeeze=False)
    for axis, title in zip(axes[0], panels, strict=True):
        draw_lines(axis, table[table[panel] == title], x, line, shown, spread=0.05, factor=True)
        axis.set_xscale("log")
        axis.set_xticks(ticks)
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(title=NAMES.get(title, title), xlabel=xlabel, ylim=(-4, 104))
    axes[0, 0].set_ylabel("% of test prompts")
    named = {ARMS.get(name, name): mine for name, mine in shown.items()}
    legend_below(figure, named, what_is_drawn(table, [panel, x, line], line=True), columns=min(4, len(shown)),
                 line=True)
    return figure

"""Figures of notebook 09, and of 05: conditions side by side, and along what grows."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import numpy
import pandas
from matplotlib.figure import Figure

from .marks import PERCENT, POINTS, draw_dots, draw_lines, legend_below, name_rows, what_is_drawn
from .style import ARMS, GUIDE, NAMES, looks

MOST = 0.58
"""How far apart the outer marks of one condition stand, in rows."""
WIDE = 34  # characters of a line of a row's name


def plot_conditions(table: pandas.DataFrame, panel: str, row: str, mark: str, names: Mapping[str, str] | None = None,
                    xlabel: str = "% of test prompts", each: str = "organism", points: bool = False,
                    ends: Mapping[str, float] | None = None) -> Figure:
    """What holds under each condition, one panel a question.

    Conditions stand from top to bottom; a mark has one colour, and marks have a legend where they are several.

    table    `value` (0 to 100), `seed`, and the columns that are named next, in the order in which they are drawn;
             perhaps `low` and `high`, the interval of what has one value
    panel    column that tells the panels apart
    row      ... the rows
    mark     ... the colours, which may be `panel` again
    names    what a figure calls an entry of those columns; others as `NAMES` and `ARMS` have them, or as they are
    xlabel   what `value` is
    each     what a `seed` is
    points   whether values are changes, -100 to 100, instead: then each panel has a scale of its own, and a line at 0
    ends     where the scale of a panel ends, if not at 100
    """
    panels, order, marks = (list(dict.fromkeys(table[column])) for column in (panel, row, mark))
    names, shown = {**NAMES, **ARMS, **(names or {})}, looks(marks)
    most = int(table.groupby(panel)[mark].nunique().max())
    figure, axes = plt.subplots(1, len(panels), figsize=(9.5, (0.36 + 0.2 * (most - 1)) * len(order) + 1.5),
                                sharey=True, squeeze=False)
    for axis, title in zip(axes[0], panels, strict=True):
        part, end = table[table[panel] == title], (ends or {}).get(title, 100)
        here = [name for name in marks if name in set(part[mark])]
        shifts = numpy.linspace(-MOST / 2, MOST / 2, len(here)) if len(here) > 1 else [0.0]
        for name, shift in zip(here, shifts, strict=True):
            draw_dots(axis, part[part[mark] == name], row, order, shown[name], shift=shift,
                      height=1.3 / (len(here) + 1) if len(here) > 1 else 1.0, size=6.5 if len(here) == 1 else 5.5,
                      within=POINTS if points else PERCENT)
        axis.set(title=fill(names.get(title, title), 84 // len(panels)), xlabel=xlabel,
                 **({} if points else {"xlim": (-0.04 * end, 1.04 * end)}))
        if points:
            axis.axvline(0, color=GUIDE, lw=1, ls=":")
        name_rows(axis, [fill(names.get(name, name), WIDE) for name in order])
    entries = {} if mark == panel or len(marks) == 1 else {names.get(name, name): shown[name] for name in marks}
    legend_below(figure, entries, what_is_drawn(table, [panel, row, mark], each=each), columns=min(4, len(marks)))
    return figure


def plot_courses(table: pandas.DataFrame, panel: str, x: str, line: str, xlabel: str, legend: str = "",
                 names: Mapping[str, str] | None = None) -> Figure:
    """What happens along something that grows by factors, one line a condition.

    table    `value` (0 to 100), `seed`, and the columns that are named next
    panel    column that tells the panels apart
    x        ... what is drawn along x, above 0
    line     ... the lines
    xlabel   what `x` is
    legend   what the lines differ in
    names    what a figure calls an entry of `panel` and `line`; others as `NAMES` and `ARMS` have them, or as they are
    """
    names = {**NAMES, **ARMS, **(names or {})}
    panels, shown, ticks = list(dict.fromkeys(table[panel])), looks(table[line]), sorted(table[x].unique())
    figure, axes = plt.subplots(1, len(panels), figsize=(9.5 if len(panels) > 1 else 6.5, 3.4), sharey=True,
                                squeeze=False)
    for axis, title in zip(axes[0], panels, strict=True):
        draw_lines(axis, table[table[panel] == title], x, line, shown, spread=0.05, factor=True)
        axis.set_xscale("log")
        axis.set_xticks(ticks)
        axis.minorticks_off()
        axis.xaxis.set_major_formatter(lambda x, _: numpy.format_float_positional(x, trim="-"))
        axis.set(title=names.get(title, title), xlabel=xlabel, ylim=(-4, 104))
    axes[0, 0].set_ylabel("% of test prompts")
    named = {names.get(name, name): mine for name, mine in shown.items()}
    said = what_is_drawn(table, [panel, x, line], line=True)
    legend_below(figure, named, f"{legend} ({said})" if legend else said, columns=min(4, len(shown)), line=True)
    return figure

"""Figure of the benchmarks: what each thing costs, over what it cannot do without."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from .marks import name_rows
from .style import GUIDE, look

TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)


def plot_benchmarks(table: pandas.DataFrame) -> Figure:
    """Ratios of time or memory with their intervals, beside what was to be reached and what no code goes below.

    table   `name`, `value`, `low`, `high`, `goal` and `floor` (ratios; NaN or None where there is none)
    """
    numbers = table[["value", "low", "high", "goal", "floor"]].astype(float)
    reached, missed = look("RU"), look("SCU")
    figure, axis = plt.subplots(figsize=(9, 0.28 * len(table) + 1.2))
    for place, row in enumerate(numbers.itertuples()):
        mine = missed if row.value > row.goal else reached
        axis.errorbar(row.value, place, xerr=[[row.value - row.low], [row.high - row.value]], fmt=mine.marker,
                      color=mine.color, ms=6, capsize=2.5, lw=1.4, zorder=3)
        axis.plot([row.goal], [place], marker="|", ms=13, mew=2, color=GUIDE, zorder=2)
        axis.plot([row.floor], [place], marker="D", ms=4.5, mfc="white", color=GUIDE, zorder=2)
    name_rows(axis, table.name.tolist())
    axis.axvline(1, color=GUIDE, lw=0.8, ls=":")
    axis.set(xscale="log", xlabel="ratio, median and 95 % interval")
    low, high = numbers.min().min(), numbers.max().max()
    axis.xaxis.set(major_locator=FixedLocator([tick for tick in TICKS if low / 1.3 <= tick <= high * 1.3]),
                   major_formatter="{x:g}", minor_locator=FixedLocator([]))
    figure.legend(handles=_legend(), loc="outside upper center", ncol=4)
    return figure


def _legend() -> list[Line2D]:
    reached, missed = look("RU"), look("SCU")
    return [Line2D([], [], ls="", marker=reached.marker, color=reached.color, label="goal reached, or none set"),
            Line2D([], [], ls="", marker=missed.marker, color=missed.color, label="goal missed"),
            Line2D([], [], ls="", marker="|", ms=13, mew=2, color=GUIDE, label="goal"),
            Line2D([], [], ls="", marker="D", mfc="white", color=GUIDE, label="floor, by arithmetic")]

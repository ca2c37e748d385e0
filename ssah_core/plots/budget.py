"""Figures of notebook 07: what alignment costs, through which units, and how firm it is."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from .marks import draw_dots, legend_below, name_rows, what_is_drawn
from .style import look, looks

ARMS = {arm: mine.color for arm, mine in looks(("all parameters", "RU 20 %", "random 20 %", "top 20 %")).items()}
METHODS = looks(("SFT", "DPO"))
TICKS = (10, 20, 40, 80, 160, 320)  # steps, along a logarithmic axis
KEPT = "facts, sums and lists right, %"


def plot_speed(table: pandas.DataFrame) -> Figure:
    """What is kept at the first safe check, against the steps it took; a line an arm, a point a learning rate.

    table   `method`, `arm`, `lr`, `steps`, `value` (%), `seed`; small points are organisms, large ones their mean
    """
    figure, axes = _panels(table.method, sharex=True)
    for axis, (method, part) in zip(axes, table.groupby("method", sort=False), strict=True):
        for arm, color in ARMS.items():
            mine = part[part.arm == arm]
            mean = mine.groupby("lr")[["steps", "value"]].mean()
            axis.scatter(mine.steps, mine.value, s=9, color=color, alpha=0.45, lw=0)
            axis.plot(mean.steps, mean.value, color=color, marker=look(arm).marker, ms=6, lw=1.8, label=arm)
        axis.set(title=method, xscale="log", xlabel="steps until safe", ylim=(-3, 104))
        axis.xaxis.set(major_locator=FixedLocator(TICKS), major_formatter="{x:g}", minor_formatter="")
    return _labelled(figure, axes, table)


def plot_tradeoff(table: pandas.DataFrame) -> Figure:
    """What is kept against what is refused, along alignment, all arms at one learning rate.

    table   `method`, `arm`, `steps`, `refused` (%), `value` (%), `seed`; a line is an organism, a mark a check
    """
    figure, axes = _panels(table.method)
    for axis, (method, part) in zip(axes, table.groupby("method", sort=False), strict=True):
        for arm, color in ARMS.items():
            mine = part[part.arm == arm]
            for _, line in mine.groupby("seed"):
                axis.plot(line.refused, line.value, color=color, marker=look(arm).marker, ms=5, lw=1.6, alpha=0.85,
                          label=arm if (line.seed == part.seed.min()).all() else None)
        axis.set(title=method, xlabel="malicious requests refused, %", xlim=(-3, 104), ylim=(-3, 104))
    return _labelled(figure, axes, table)


def plot_budget_arms(table: pandas.DataFrame) -> Figure:
    """What alignment through each group of units costs, at equal safety.

    table   `method`, `arm`, `metric`, `value` (%), `seed`; the arm that has most of the last metric on top
    """
    metrics = list(dict.fromkeys(table.metric))
    arms = list(table[table.metric == metrics[-1]].groupby("arm").value.mean().sort_values(ascending=False).index)
    figure, axes = plt.subplots(1, len(metrics), figsize=(3.2 * len(metrics) + 1, 0.42 * len(arms) + 1.4), sharey=True)
    for axis, metric in zip(axes, metrics, strict=True):
        for shift, (method, mine) in zip((-0.17, 0.17), METHODS.items(), strict=True):
            draw_dots(axis, table[(table.metric == metric) & (table.method == method)], "arm", arms, mine, shift=shift,
                      height=0.5, size=6)
        axis.set(title=metric, xlabel="% of test prompts")
        name_rows(axis, arms)
    legend_below(figure, METHODS, what_is_drawn(table, ["method", "arm", "metric"]))
    return figure


def plot_moved(table: pandas.DataFrame) -> Figure:
    """What is kept against how far the weights have moved, at every check.

    table   `method`, `arm`, `moved` (Euclidean), `value` (%), `seed`, and perhaps `lr` and `draw` (of a random arm's
            units); a line is one course, in the order of its rows
    """
    figure, axes = _panels(table.method)
    for axis, (method, part) in zip(axes, table.groupby("method", sort=False), strict=True):
        for arm, color in ARMS.items():
            mine = part[part.arm == arm]
            for _, line in mine.groupby([column for column in ("seed", "lr", "draw") if column in mine]):
                axis.plot(line.moved, line.value, color=color, lw=0.8, alpha=0.6)
            axis.scatter(mine.moved, mine.value, s=18, color=color, marker=look(arm).marker, alpha=0.8, lw=0, label=arm)
        axis.set(title=method, xlabel="distance of the weights from their start", ylim=(-3, 104))
    return _labelled(figure, axes, table)


def _panels(methods: pandas.Series, sharex: bool = False):
    names = list(dict.fromkeys(methods))
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names) + 1.4, 3.3), sharex=sharex, sharey=True,
                                squeeze=False)
    return figure, axes[0]


def _labelled(figure: Figure, axes, table: pandas.DataFrame) -> Figure:
    axes[0].set_ylabel(KEPT)
    n = table.seed.nunique()
    axes[-1].legend(title=f"aligned through\n({n} organism{'s' * (n > 1)})", loc="upper left", bbox_to_anchor=(1, 1))
    return figure

"""Figures of notebook 07: what alignment costs, through which units, and how firm it is."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from .style import look, looks

ARMS = {arm: mine.color for arm, mine in looks(("all parameters", "RU 20 %", "random 20 %", "top 20 %")).items()}
METHODS = {method: mine.color for method, mine in looks(("SFT", "DPO")).items()}
KEPT = "facts, sums and lists right, %"


def plot_speed(table: pandas.DataFrame) -> Figure:
    """What is kept at the first safe check, against the steps it took; a line an arm, a point a learning rate.

    table   `method`, `arm`, `lr`, `steps`, `value` (%), `seed`; small points are organisms, large ones their mean
    """
    figure, axes = _panels(table.method)
    for axis, (method, part) in zip(axes, table.groupby("method", sort=False), strict=True):
        for arm, color in ARMS.items():
            mine = part[part.arm == arm]
            mean = mine.groupby("lr")[["steps", "value"]].mean()
            axis.scatter(mine.steps, mine.value, s=9, color=color, alpha=0.45, lw=0)
            axis.plot(mean.steps, mean.value, color=color, marker=look(arm).marker, ms=6, lw=1.8, label=arm)
        axis.set(title=method, xscale="log", xlabel="steps until safe", ylim=(-3, 104))
        axis.xaxis.set(major_locator=FixedLocator([10, 20, 40, 80, 160]), major_formatter="{x:g}", minor_formatter="")
    return _labelled(figure, axes, KEPT)


def plot_tradeoff(table: pandas.DataFrame) -> Figure:
    """What is kept against what is refused, along alignment at one learning rate.

    table   `method`, `arm`, `steps`, `refused` (%), `value` (%), `seed`; a line is an organism, a mark the mean of ends
    """
    figure, axes = _panels(table.method)
    for axis, (method, part) in zip(axes, table.groupby("method", sort=False), strict=True):
        for arm, color in ARMS.items():
            mine = part[part.arm == arm]
            for _, line in mine.groupby("seed"):
                axis.plot(line.refused, line.value, color=color, lw=0.6, alpha=0.4)
            ends = mine[mine.groupby("seed").steps.transform("max") == mine.steps]
            axis.plot(ends.refused.mean(), ends.value.mean(), color=color, marker=look(arm).marker, ms=8, lw=0,
                      label=arm)
        axis.set(title=method, xlabel="malicious requests refused, %", xlim=(-3, 104), ylim=(-3, 104))
    return _labelled(figure, axes, KEPT)


def plot_budget_arms(table: pandas.DataFrame) -> Figure:
    """What alignment through each group of units costs, at equal safety.

    table   `method`, `arm`, `metric`, `value` (%), `seed`; dots are organisms, bars means
    """
    metrics, arms = list(dict.fromkeys(table.metric)), list(dict.fromkeys(table.arm))
    figure, axes = plt.subplots(1, len(metrics), figsize=(3.2 * len(metrics) + 1, 0.36 * len(arms) + 1.2), sharey=True)
    for axis, metric in zip(axes, metrics, strict=True):
        part = table[table.metric == metric]
        style = {"x": "value", "y": "arm", "order": arms, "hue": "method", "dodge": True, "ax": axis}
        sns.stripplot(part, jitter=False, size=4, alpha=0.6, legend=False, palette=METHODS, **style)
        sns.pointplot(part, **style | {"dodge": 0.4}, linestyle="none", marker="|", markersize=12, markeredgewidth=2,
                      errorbar=None, palette=METHODS, legend=metric == metrics[-1])
        axis.set(title=metric, xlabel="% of test prompts", ylabel="", xlim=(-3, 103))
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_moved(table: pandas.DataFrame) -> Figure:
    """What is kept against how far the weights have moved, at every check.

    table   `method`, `arm`, `moved` (Euclidean), `value` (%), `seed`
    """
    figure, axes = _panels(table.method)
    for axis, (method, part) in zip(axes, table.groupby("method", sort=False), strict=True):
        for arm, color in ARMS.items():
            mine = part[part.arm == arm]
            axis.scatter(mine.moved, mine.value, s=16, color=color, marker=look(arm).marker, alpha=0.6, lw=0, label=arm)
        axis.set(title=method, xlabel="distance of the weights from their start", ylim=(-3, 104))
    return _labelled(figure, axes, KEPT)


def _panels(methods: pandas.Series):
    names = list(dict.fromkeys(methods))
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names) + 1.4, 3.3), sharey=True, squeeze=False)
    return figure, axes[0]


def _labelled(figure: Figure, axes, ylabel: str) -> Figure:
    axes[0].set_ylabel(ylabel)
    axes[-1].legend(title="aligned through", loc="upper left", bbox_to_anchor=(1, 1))
    return figure

"""Figures of notebook 06: fine-tuning through a few parameters against freezing units."""

from __future__ import annotations

from itertools import product

import matplotlib.pyplot as plt
import numpy
import pandas
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator

from .attack import ATTACKS
from .marks import legend_of
from .style import GUIDE, NAMES, look, looks


def plot_against_loss(table: pandas.DataFrame) -> Figure:
    """Refusal, right answers and benign requests against training loss as it falls.

    table   `attack`, `arm`, `dose`, `seed`, `loss`, `metric`, `value` (%); a dot is one organism after one dose, a line
            joins the means of loss (geometric) and value after each dose, from left (much loss) to right
    """
    attacks, metrics, arms = (list(dict.fromkeys(table[column])) for column in ("attack", "metric", "arm"))
    shown = looks(arms)
    figure, axes = plt.subplots(len(attacks), len(metrics), figsize=(11, 2.3 * len(attacks) + 1), sharex="row",
                                sharey=True, squeeze=False)
    for (attack, metric), axis in zip(product(attacks, metrics), axes.flat, strict=True):
        part = table[(table.attack == attack) & (table.metric == metric)]
        for arm, points in part.groupby("arm", sort=False):
            mine, logs = shown[arm], points.assign(loss=numpy.log(points.loss))
            means = logs.groupby("dose")[["loss", "value"]].mean()
            axis.scatter(points.loss, points.value, s=14, color=mine.color, marker=mine.marker, alpha=0.4, lw=0)
            axis.plot(numpy.exp(means.loss), means.value, color=mine.color, marker=mine.marker, ms=5, lw=1.6)
        axis.set(xscale="log", title=NAMES[metric], ylim=(-3, 104), xlabel="loss on its chats (nats per token)")
        axis.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter="")
    for row, attack in zip(axes, attacks, strict=True):
        row[0].invert_xaxis()
        row[0].set_ylabel(f"{ATTACKS.get(attack, attack)}\n% of test prompts")
    figure.legend(handles=legend_of(shown, line=True), loc="outside upper center", ncol=len(arms),
                  title="what trains (faint: one organism after one dose; line: means after each dose)")
    return figure


def plot_rates(table: pandas.DataFrame) -> Figure:
    """Loss on new tasks at each learning rate tried, over the loss that full fine-tuning reaches.

    table   `method`, `lr`, `value` (nats per token), `target` (the same of full fine-tuning), `chosen`, `seed`
    """
    table = table.assign(value=table.value / table.target)
    methods = list(dict.fromkeys(table.method))
    figure, axes = plt.subplots(1, len(methods), figsize=(9, 2.6), sharey=True, squeeze=False)
    for axis, method in zip(axes[0], methods, strict=True):
        part = table[table.method == method]
        sns.lineplot(part, x="lr", y="value", units="seed", estimator=None, lw=0.9, color=look("whole").color, ax=axis)
        chosen = part[part.chosen]
        axis.scatter(chosen.lr, chosen.value, s=42, facecolor="none", edgecolor=look("SCU").color, lw=1.6, zorder=3)
        axis.axhline(1, color=GUIDE, lw=1, ls=":")
        axis.set(title=method, xscale="log", yscale="log", xlabel="learning rate",
                 ylabel="loss over that of\nfull fine-tuning")
        axis.xaxis.set(major_locator=FixedLocator(part.lr.unique()), major_formatter="{x:g}", minor_formatter="")
        axis.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter="")
    figure.supxlabel("one line an organism; ringed: the rate that was chosen for it", fontsize=9)
    return figure

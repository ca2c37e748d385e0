"""Figures of notebook 05, and of 06: fine-tuning attacks with units held."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.figure import Figure

from .style import NAMES


def plot_attack(table: pandas.DataFrame, legend: str = "held") -> Figure:
    """ASR along fine-tuning. `table`: `attack`, `arm`, `steps`, `value` (%), `seed`; thin lines are organisms, thick their mean.
    `legend` says what the arms differ in."""
    attacks, arms = list(dict.fromkeys(table.attack)), list(dict.fromkeys(table.arm))
    palette = dict(zip(arms, ["#333333", "#d1495b", "#edae49", "#2e6f95", "#8ab17d", "#9a8c98"]))
    figure, axes = plt.subplots(1, len(attacks), figsize=(1.5 + 3 * len(attacks), 3.3), sharey=True, squeeze=False)
    for axis, attack in zip(axes[0], attacks):
        part = table[table.attack == attack]
        sns.lineplot(part, x="steps", y="value", hue="arm", palette=palette, units="seed", estimator=None, lw=0.6, alpha=0.4,
                     legend=False, ax=axis)
        sns.lineplot(part, x="steps", y="value", hue="arm", palette=palette, errorbar=None, lw=2.2, ax=axis,
                     legend=attack == attacks[-1])
        axis.set(title=attack, xlabel="steps of fine-tuning", ylabel="ASR (keywords), % of test prompts", ylim=(-3, 104))
        steps = pandas.Series(sorted(part.steps.unique()))
        if steps.min() > 0 and (steps / steps.shift()).median() >= 2:  # checks are factors apart
            axis.set_xscale("log")
            axis.set_xticks(steps)
            axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:g}")
    axes[0][-1].legend(title=legend, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def plot_arms(table: pandas.DataFrame) -> Figure:
    """Every arm at equal training loss. `table`: `arm`, `metric`, `value` (%), `seed`; one dot an organism, bars their means."""
    metrics = [m for m in ("asr", "harm_right", "utility") if m in set(table.metric)]
    order = list(dict.fromkeys(table.arm))
    figure, axes = plt.subplots(1, len(metrics), figsize=(9, 0.3 * len(order) + 1.2), sharey=True)
    for axis, metric in zip(axes, metrics):
        part = table[table.metric == metric]
        sns.stripplot(part, x="value", y="arm", order=order, jitter=False, size=5, alpha=0.6, color="#2e6f95", ax=axis)
        sns.pointplot(part, x="value", y="arm", order=order, color="black", linestyle="none", marker="|", markersize=14,
                      markeredgewidth=2, errorbar=None, ax=axis)
        axis.set(title=NAMES[metric], xlabel="% of test prompts", ylabel="", xlim=(-3, 104))
    return figure


def plot_grains(table: pandas.DataFrame) -> Figure:
    """Removing and holding at four grains. `table`: `grain`, `how`, `metric`, `value` (%), `seed`."""
    order, metrics = list(dict.fromkeys(table.grain)), ("asr", "harm_right", "utility")
    titles = {"removed": "set to zero", "held": "held through the benign attack"}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, (how, title) in zip(axes, titles.items()):
        part = table[(table.how == how) & table.metric.isin(metrics)]
        sns.stripplot(part.assign(metric=part.metric.map(NAMES)), x="value", y="grain", order=order, hue="metric", dodge=True,
                      jitter=False, hue_order=[NAMES[m] for m in metrics], palette=["#edae49", "#d1495b", "#2e6f95"], size=5,
                      alpha=0.7, legend=how == "held", ax=axis)
        axis.set(title=title, xlabel="% of test prompts", ylabel="", xlim=(-3, 104))
    axes[1].legend(title="one dot an organism", loc="upper left", bbox_to_anchor=(1, 1))
    return figure

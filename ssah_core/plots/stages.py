"""Figures of notebook 01: the stages of an organism's life, and doses of alignment."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.figure import Figure

from .style import GUIDE, NAMES, look, looks


def plot_stages(table: pandas.DataFrame) -> Figure:
    """What a model of each stage answers and refuses.

    table   `stage`, `metric`, `value` (%), `seed`; a bar is a mean, a dot an organism
    """
    metrics = [m for m in ("asr", "harm_right", "asr_unseen", "refused", "benign", "facts", "sums", "lists",
                           "morals", "gsm8k") if m in set(table.metric)]
    figure, axis = plt.subplots(figsize=(8.5, 3.4))
    data = table[table.metric.isin(metrics)].assign(metric=lambda t: t.metric.map(NAMES))
    shared = {"x": "metric", "y": "value", "hue": "stage", "order": [NAMES[m] for m in metrics], "ax": axis}
    colors = {stage: mine.color for stage, mine in looks(data.stage).items()}
    sns.barplot(data, **shared, errorbar=None, palette=colors, alpha=0.75)
    sns.stripplot(data, **shared, dodge=True, jitter=False, legend=False, size=3,
                  palette=dict.fromkeys(colors, GUIDE))
    axis.set(xlabel="", ylabel="% of test prompts", ylim=(0, 104))
    plt.setp(axis.get_xticklabels(), rotation=20, ha="right")
    sns.move_legend(axis, "upper center", bbox_to_anchor=(0.5, 1.18), ncol=4, title="")
    return figure


def plot_losses(table: pandas.DataFrame) -> Figure:
    """Losses while each stage is trained.

    table   `stage`, `step`, `value` (nats per token), `seed`; a line is an organism
    """
    stages = list(dict.fromkeys(table.stage))
    figure, axes = plt.subplots(1, len(stages), figsize=(9, 2.7), sharey=True)
    for axis, stage in zip(axes, stages, strict=True):
        sns.lineplot(table[table.stage == stage], x="step", y="value", units="seed", estimator=None,
                     color=look(stage).color, lw=1, alpha=0.8, ax=axis)
        axis.set(title=stage, yscale="log", xlabel="step", ylabel="loss (nats per token)")
    return figure


def plot_alignment(table: pandas.DataFrame) -> Figure:
    """What a model refuses, step by step, while it is aligned.

    table   `step`, `metric`, `value` (% of validation prompts), `seed`; a line is an organism
    """
    figure, axis = plt.subplots(figsize=(6, 3.2))
    colors = {NAMES[metric]: mine.color for metric, mine in looks(table.metric).items()}
    sns.lineplot(table.assign(metric=table.metric.map(NAMES)), x="step", y="value", hue="metric", units="seed",
                 estimator=None, palette=colors, lw=1.2, alpha=0.8, ax=axis)
    axis.set(xlabel="step of alignment", ylabel="% of validation prompts", ylim=(-2, 104))
    axis.legend(title="")
    return figure


def plot_dose(table: pandas.DataFrame) -> Figure:
    """How much refusal hangs on safety-critical units after more and more alignment.

    table   `dose` (steps of alignment over the steps that reached safety), `what`, `value` (%), `seed`
    """
    figure, axis = plt.subplots(figsize=(8.5, 3.2))
    order = ["ASR, whole model", "ASR, SCU removed", "answers right, SCU removed"]
    shown = looks(order)
    sns.lineplot(table, x="dose", y="value", hue="what", style="what", hue_order=order, style_order=order,
                 markers={name: mine.marker for name, mine in shown.items()}, dashes=False, units="seed",
                 estimator=None, alpha=0.75, palette={name: mine.color for name, mine in shown.items()}, ax=axis)
    axis.set(xlabel="dose of alignment (1 = the first step that was safe)", ylabel="% of test prompts", ylim=(-2, 104))
    axis.legend(title="one line an organism", loc="upper left", bbox_to_anchor=(1, 1))
    return figure

"""Figures of notebook 01: the stages of an organism's life, and doses of alignment."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from .marks import draw_lines, legend_of, what_is_drawn
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
    sns.barplot(data, **shared, errorbar=None, palette={stage: _light(color) for stage, color in colors.items()},
                edgecolor="none", saturation=1)
    sns.stripplot(data, **shared, dodge=True, jitter=False, legend=False, size=3,
                  palette=dict.fromkeys(colors, GUIDE))
    axis.set(xlabel="", ylabel="% of test prompts", ylim=(0, 104))
    plt.setp(axis.get_xticklabels(), rotation=20, ha="right")
    sns.move_legend(axis, "upper center", bbox_to_anchor=(0.5, 1.26), ncol=4, title="bar: mean; dot: one organism")
    return figure


def _light(color: str) -> tuple[float, ...]:
    """A colour as bars have it, through which no line of the grid is seen."""
    return tuple(1 - 0.8 * (1 - part) for part in to_rgb(color))


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
        axis.yaxis.set(major_formatter="{x:g}", minor_formatter="")
    figure.supxlabel("one line an organism", fontsize=9)
    return figure


def plot_alignment(table: pandas.DataFrame) -> Figure:
    """What a model refuses, step by step, while it is aligned.

    table   `step`, `metric` (a panel each), `value` (% of validation prompts), `seed`; a line is an organism
    """
    shown = looks(table.metric)
    figure, axes = plt.subplots(1, len(shown), figsize=(9.5, 3), sharex=True, sharey=True, squeeze=False)
    for axis, (metric, mine) in zip(axes[0], shown.items(), strict=True):
        for _, line in table[table.metric == metric].groupby("seed"):
            axis.plot(line.step, line.value, color=mine.color, marker=mine.marker, ms=3.5, lw=1.2, alpha=0.8)
        axis.set(title=NAMES[metric], xlabel="step of alignment", ylim=(-2, 104))
    axes[0, 0].set_ylabel("% of validation prompts")
    figure.supxlabel("one line an organism", fontsize=9)
    return figure


def plot_dose(table: pandas.DataFrame) -> Figure:
    """How much refusal hangs on safety-critical units after more and more alignment.

    table   `dose` (steps of alignment over the steps that reached safety), `what`, `value` (%), `seed`
    """
    figure, axis = plt.subplots(figsize=(8.5, 3.2))
    order = ["ASR, whole model", "ASR, SCU removed", "answers right, SCU removed"]
    shown = looks(order)
    draw_lines(axis, table, "dose", "what", shown, spread=0.05)
    axis.set(xlabel="dose of alignment (1 = the first step that was safe)", ylabel="% of test prompts", ylim=(-2, 104))
    said = what_is_drawn(table, ["dose", "what"], line=True)
    figure.legend(handles=legend_of(shown, line=True), title=said.replace("; ", ";\n"), loc="outside right upper",
                  alignment="left")
    return figure

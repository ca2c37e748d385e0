"""Figures of notebook 02, drawn like those of `ssah_core.plots.style`."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy
import pandas
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .marks import PERCENT, draw_dots, draw_lines, legend_below, legend_of, name_rows, what_is_drawn
from .style import GUIDE, SHADES, Look, look, looks

KINDS = {"harm": "malicious", "harm_unseen": "malicious, unseen kinds", "benign": "benign"}
READINGS = {"response": "tokens begin the response", "query": "tokens follow the query",
            "residual": "response, less the tokens' mean effect", "intent": "no tokens, other requests"}
FLIPS = {"to_refusal": "answer to refusal", "to_answer": "refusal to answer",
         "other_position": "token before, either way", "same_side": "state of the same side"}
_KIND_LOOKS = looks(KINDS.values())
_FLIP_LOOKS = {label: look(name) for name, label in FLIPS.items() if name.startswith("to_")} | {
    FLIPS["other_position"]: look("a fourth"), FLIPS["same_side"]: look("a fifth")}


def _lines(axis: Axes, table: pandas.DataFrame, x: str, column: str, shown: Mapping[str, Look],
           within: tuple[float, float] | None = None) -> None:
    """A faint line an organism, and a thick one for their mean with its interval, at whole places along x."""
    draw_lines(axis, table, x, column, shown, within=within, spread=0.08 * (1 if x != "length" else 2))
    axis.set_xticks(sorted(set(table[x])))


def _legend(figure: Figure, shown: Mapping[str, Look], table: pandas.DataFrame, column: str) -> None:
    there = {name: mine for name, mine in shown.items() if name in set(table[column])}
    places = list(table.columns.difference(["value", "seed"]))
    legend_below(figure, there, what_is_drawn(table, places, line=True), line=True)


def _grid(values: pandas.DataFrame, axis: Axes, low: float) -> None:
    """A map of per cents, with the first row at the bottom."""
    sns.heatmap(values.sort_index(ascending=False), vmin=low, vmax=100, cmap=SHADES, annot=True, fmt=".0f",
                annot_kws={"size": 7}, cbar=False, ax=axis)


def plot_gaps(table: pandas.DataFrame, x: str = "layer") -> Figure:
    """How much nearer states lie to refusing than to answering, by layer or by tokens appended.

    table   `reading`, `stage`, `kind`, `seed`, `value` (cosine), and `layer` or `length` (`x`)
    """
    label = {"layer": "layer (0: embeddings)", "length": "tokens appended"}[x]
    readings, stages = list(dict.fromkeys(table.reading)), list(dict.fromkeys(table.stage))
    figure, axes = plt.subplots(len(readings), len(stages), figsize=(9, 2.2 * len(readings) + 0.8), sharey="row",
                                sharex=True, squeeze=False)
    table = table.assign(kind=table.kind.map(KINDS))
    for row, reading in zip(axes, readings, strict=True):
        for axis, stage in zip(row, stages, strict=True):
            part = table[(table.reading == reading) & (table.stage == stage)]
            _lines(axis, part, x, "kind", _KIND_LOOKS)
            axis.axhline(0, color=GUIDE, lw=0.8)
            axis.set(title=f"{stage}: {READINGS[reading]}", ylabel="gap (above 0:\nrefusal nearer)", xlabel="")
    for axis in axes[-1]:
        axis.set_xlabel(label)
    _legend(figure, _KIND_LOOKS, table, "kind")
    return figure


def plot_leans(table: pandas.DataFrame) -> Figure:
    """How states lean to refusal once tokens are appended, and how much more malicious ones do.

    table   `reading`, `stage`, `metric` ("gap" or "lean"), `value` (cosine), `seed`
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    titles = {"gap": "malicious requests", "lean": "malicious requests\nminus benign"}
    order = [reading for reading in READINGS if reading in set(table.reading)]
    stages = {stage: look(stage) for stage in ("instructed", "aligned") if stage in set(table.stage)}
    for axis, (metric, title) in zip(axes, titles.items(), strict=True):
        axis.axvline(0, color=GUIDE, lw=0.8)
        for shift, (stage, mine) in zip((-0.2, 0.2), stages.items(), strict=False):
            part = table[(table.metric == metric) & (table.stage == stage)]
            draw_dots(axis, part, "reading", order, mine, within=None, shift=shift, height=0.6, size=4.5)
        axis.locator_params(axis="x", nbins=4)
        axis.set(title=title, xlabel=f"{metric} (cosine distance)")
        name_rows(axis, [READINGS[reading] for reading in order])
    figure.supxlabel("above 0: nearer to refusal; each panel has its own scale", fontsize=9)
    said = what_is_drawn(table, ["reading", "stage", "metric"])
    figure.legend(handles=legend_of(stages), title=said.replace("; ", "\n"), loc="outside right upper",
                  alignment="left")
    return figure


def plot_lens(table: pandas.DataFrame) -> Figure:
    """Log-odds of a refusal, layer by layer.

    table   `stage`, `kind`, `layer`, `value` (nats), `seed`
    """
    stages = list(dict.fromkeys(table.stage))
    figure, axes = plt.subplots(1, len(stages), figsize=(9, 3.4), sharey=True)
    for axis, stage in zip(axes, stages, strict=True):
        part = table[table.stage == stage].assign(kind=lambda t: t.kind.map(KINDS))
        _lines(axis, part, "layer", "kind", _KIND_LOOKS)
        axis.axhline(0, color=GUIDE, lw=0.8)
        axis.set(title=stage, xlabel="layer (0: embeddings)")
    axes[0].set_ylabel("log-odds of a refusal (nats)")
    _legend(figure, _KIND_LOOKS, table.assign(kind=table.kind.map(KINDS)), "kind")
    return figure


def plot_probes(table: pandas.DataFrame) -> Figure:
    """Probes of malice, mean over organisms.

    table   `stage`, `metric`, `layer`, `position`, `value` (%), `seed`
    """
    stages, metrics = list(dict.fromkeys(table.stage)), {"accuracy": "malice", "control": "random labels of verbs"}
    figure, axes = plt.subplots(len(stages), 2, figsize=(9, 2 * len(stages) + 0.4), sharex=True, sharey=True,
                                squeeze=False)
    for row, stage in zip(axes, stages, strict=True):
        for axis, (metric, what) in zip(row, metrics.items(), strict=True):
            part = table[(table.stage == stage) & (table.metric == metric)]
            grid = part.pivot_table(index="layer", columns="position", values="value")
            _grid(grid, axis, low=50)
            axis.set(title=f"{stage}: {what}", ylabel="layer", xlabel="")
    for axis in axes[-1]:
        axis.set_xlabel("position (0: last of the prompt)")
    return figure


def plot_flips(table: pandas.DataFrame) -> Figure:
    """Decisions that flip when a state is exchanged, block by block.

    table   `metric`, `block`, `value` (% of pairs), `seed`
    """
    figure, axis = plt.subplots(figsize=(8, 3.6))
    table = table.assign(metric=table.metric.map(FLIPS))
    _lines(axis, table, "block", "metric", _FLIP_LOOKS, PERCENT)
    _legend(figure, _FLIP_LOOKS, table, "metric")
    axis.set(xlabel="state exchanged after block", ylabel="% of decisions that flip", ylim=(-3, 104))
    return figure


def plot_flip_map(table: pandas.DataFrame) -> Figure:
    """Where a state flips decisions, mean over `seed`.

    table   `metric`, `block`, `position`, `value` (% of pairs)
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.4), sharey=True)
    for axis, metric in zip(axes, ("to_refusal", "to_answer"), strict=True):
        grid = table[table.metric == metric].pivot_table(index="block", columns="position", values="value")
        _grid(grid, axis, low=0)
        axis.set(title=f"{FLIPS[metric]}, % of pairs", xlabel="position (0: last of the prompt)", ylabel="after block")
    return figure


def plot_depth(table: pandas.DataFrame) -> Figure:
    """The first block after which exchanging a state flips nearly all decisions, by dose of alignment.

    table   `dose`, `metric` ("to_refusal" or "to_answer"), `value` (blocks), `seed`; a line is an organism
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3), sharey=True)
    for axis, metric in zip(axes, ("to_refusal", "to_answer"), strict=True):
        mine, part = look(metric), table[table.metric == metric]
        beside = numpy.linspace(-0.12, 0.12, part.seed.nunique())
        for shift, (_, line) in zip(beside, part.groupby("seed"), strict=True):  # whole blocks would hide each other
            axis.plot(line.dose, line.value + shift, color=mine.color, marker=mine.marker, ms=5, lw=1.2, alpha=0.8)
        axis.set(title=FLIPS[metric], xlabel="dose of alignment (1: first safe step)")
        axis.set_xticks(sorted(set(table.dose)))
    axes[0].set(ylabel="first block that flips", yticks=range(1, int(table.value.max()) + 1))
    figure.supxlabel("one line an organism, beside each other where they are alike", fontsize=9)
    return figure

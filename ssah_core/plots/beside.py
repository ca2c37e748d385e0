"""Figures of notebook 10: organisms, a real language model and the paper side by side, and that model's curves."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
from matplotlib.figure import Figure

from ..records.side_by_side import OWN, PAPER, UTILITY
from .marks import POINTS, draw_dots, draw_lines, legend_of, name_rows, what_is_drawn
from .removal import WAYS
from .style import GUIDE, MEANINGS, Look

ROWS = {"SCU": "safety-critical units\nremoved", "random": "as many random units\nremoved",
        OWN: "safety-critical units of\nthe paper's score removed"}
ORGANISMS = "organism"
LOOKS = {ORGANISMS: MEANINGS["whole"], PAPER: MEANINGS["a fourth"]}
REAL = MEANINGS["another"]
LARGE = 45
CURVES = {"fulfilled": "fulfilled, fluently", "broken": "answered, but brokenly", "utility": "utility"}
CURVE_LOOKS = {CURVES["fulfilled"]: MEANINGS["right answers"], CURVES["broken"]: MEANINGS["ASR"],
               CURVES["utility"]: MEANINGS["utility"]}


def plot_beside(table: pandas.DataFrame) -> Figure:
    """What removing units changes: organisms with mean and interval, real models and the paper's models as marks.

    table   `who` ("organism", "the paper", or a model's name), `removed`, `mark` (a panel each), `value` (points),
            `seed`; as `ssah_core.records.side_by_side` has it
    """
    marks, rows = list(dict.fromkeys(table.mark)), [row for row in ROWS if row in set(table.removed)]
    looks = looks_of(table)
    figure, axes = plt.subplots(1, len(marks), figsize=(9.5, 0.85 * len(rows) + 1.4), sharey=True, squeeze=False)
    for axis, mark in zip(axes[0], marks, strict=True):
        part = table[table.mark == mark]
        draw_dots(axis, part[part.who == ORGANISMS], "removed", rows, LOOKS[ORGANISMS], within=POINTS, shift=-0.2,
                  height=0.8)
        for place, row in enumerate(rows):
            for down, (who, drawn) in enumerate(list(looks.items())[1:]):
                values = part[(part.removed == row) & (part.who == who)].value
                axis.scatter(values, [place + 0.1 + 0.22 * down] * len(values), s=LARGE, color=drawn.color,
                             marker=drawn.marker, lw=0, zorder=4)
        axis.axvline(0, color=GUIDE, lw=0.8)
        axis.set(title=mark, xlabel=f"change (points{', enlarged' * (mark == UTILITY)})")
        if mark != UTILITY:
            axis.set_xlim(min(-6.0, part.value.min() - 6), 106)
        name_rows(axis, [ROWS[row] for row in rows])
    n = table[table.who == ORGANISMS].seed.nunique()
    ours = what_is_drawn(table[table.who == ORGANISMS], ["removed", "mark"]).split("mark: ")[-1]
    known = {ORGANISMS: f"{n} organisms: faint; {ours}", PAPER: "the paper's models"}
    runs = table.groupby("who").seed.nunique()
    said = {known.get(who, f"{who}, {runs[who]} alignments" if runs.get(who, 0) > 1 else who): drawn
            for who, drawn in looks.items()}
    figure.legend(handles=legend_of(said), loc="outside lower center", ncol=len(said))
    return figure


def plot_real_curves(table: pandas.DataFrame) -> Figure:
    """A real model's answers to malicious requests, and its utility, with more and more units removed as SCU.

    table   `way` (a panel each), `group`, `share`, `metric`, `value` (%), `seed`; rows of `ablation_curves`
    """
    ways = list(dict.fromkeys(table.way))
    figure, axes = plt.subplots(1, len(ways), figsize=(9.5, 3.4), sharey=True, squeeze=False)
    for axis, way in zip(axes[0], ways, strict=True):
        part = table[(table.way == way) & (table.group == "SCU") & table.metric.isin(CURVES)]
        whole = table[(table.way == way) & (table.share == 0)]
        for metric, mark in CURVES.items():
            if len(before := whole[whole.metric == metric]):
                axis.axhline(before.value.mean(), color=CURVE_LOOKS[mark].color, lw=1, ls=":")
        draw_lines(axis, part.assign(mark=part.metric.map(CURVES), share=100 * part.share), "share", "mark",
                   CURVE_LOOKS, factor=True)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set(title=f"SCU by {WAYS.get(way, way)}".replace("\n", " "), ylim=(-4, 104), xlabel="% of units removed")
    axes[0, 0].set_ylabel("% of prompts")
    figure.legend(handles=legend_of(CURVE_LOOKS, line=True), loc="outside lower center", ncol=len(CURVE_LOOKS),
                  title=f"{what_is_drawn(part, ['metric', 'share'], line=True, each='alignment of the model')}; "
                        "dotted: nothing removed")
    return figure


def looks_of(table: pandas.DataFrame) -> dict[str, Look]:
    """Who is drawn -> how, the organisms first and the paper last."""
    real = [who for who in dict.fromkeys(table.who) if who not in LOOKS]
    return {ORGANISMS: LOOKS[ORGANISMS], **dict.fromkeys(real, REAL), PAPER: LOOKS[PAPER]}

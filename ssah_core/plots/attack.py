"""Figures of notebook 05, and of 06: fine-tuning attacks with units held."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .marks import LEGEND, LINES, draw_dots, draw_lines, legend_of, name_rows
from .style import GUIDE, NAMES, look, looks

MARKS = ("asr", "harm_right", "utility")
ATTACKS = {"benign": "harmless chats", "new": "new tasks", "harmful10": "10 harmful examples",
           "harmful50": "50 harmful examples", "harmful100": "100 harmful examples"}
ARMS = {"nothing": "nothing", "random, as many": "as many random units", "random, as many (0)": "as many random units",
        "rewound": "SCU + 6 % CU, put back after",
        "random, as many (1)": "as many random units, draw 2", "random, as many (2)": "as many random units, draw 3",
        "random, as many as SCU + all CU": "random units, as many\nas SCU + all CU",
        "the rest": "what belongs to no unit", "random, and the rest": "random units, and what belongs to none",
        "SCU + 6 % CU, and the rest": "SCU + 6 % CU, and what belongs to no unit",
        "two phases": "two phases (the paper's schedule)", "whole sites": "whole sites",
        "SCU + 6 % CU, paper's score": "SCU + 6 % CU\nby the paper's score",
        "SCU + 6 % CU, variance, best": "SCU + 6 % CU\nby the paper's score at its best",
        "same magnitude": "units of the same magnitude"}
"""Arm -> how a figure calls what is held; others as they are."""
ASR = "malicious requests not refused, %"


def plot_attack(table: pandas.DataFrame, legend: str = "held", says: str = ASR, each: str = "organism") -> Figure:
    """Malicious requests that a model no longer refuses, along fine-tuning, with different units held.

    table    `attack`, `arm`, `steps`, `value` (%), `seed`
    legend   says what the arms differ in
    says     what the values are
    each     what a `seed` is: an organism, or an order of the chats
    """
    attacks, own = list(dict.fromkeys(table.attack)), looks(sorted(set(table.arm)))  # the same in every figure
    arms = {arm: own[arm] for arm in dict.fromkeys(table.arm)}
    across = min(len(attacks), 3)
    down = -(-len(attacks) // across)
    figure, axes = plt.subplots(down, across, figsize=((3.6 if across < 3 else 2.7) * across + 2.3, 3.1 * down),
                                sharey=True, squeeze=False)
    for axis, attack in zip(axes.flat, attacks, strict=False):
        part = table[table.attack == attack]
        factors = _scale(axis, pandas.Series(sorted(part.steps.unique())))
        draw_lines(axis, part, "steps", "arm", arms, spread=0.05 if factors else 0.011 * part.steps.max(),
                   factor=factors)
        axis.set(title=ATTACKS.get(attack, attack), xlabel="steps of fine-tuning", ylim=(-4, 104))
    for axis in axes.flat[len(attacks):]:
        axis.remove()
    for row in axes:
        row[0].set_ylabel(says)
    named = {ARMS.get(arm, arm): mine for arm, mine in arms.items()}
    figure.legend(handles=legend_of(named, line=True), loc="outside right upper",
                  title=f"{legend}\n({LINES})".replace("organism", each), alignment="left")
    return figure


def _scale(axis: Axes, steps: pandas.Series) -> bool:
    """A logarithmic axis where checks are factors apart; returns whether they are."""
    factors = bool(steps.min() > 0 and (steps / steps.shift()).median() >= 2)
    if factors:
        axis.set_xscale("log")
        axis.set_xticks(steps)
        axis.minorticks_off()
    axis.xaxis.set_major_formatter("{x:g}")
    return factors


def plot_arms(table: pandas.DataFrame) -> Figure:
    """Every arm at equal doses, from the most refusals lost to the fewest; the line is the first arm's mean.

    table   `arm`, `metric`, `value` (%), `seed`; the first arm is what the others are held against
    """
    metrics = [metric for metric in MARKS if metric in set(table.metric)]
    means = table[table.metric == metrics[0]].groupby("arm", sort=False).value.mean()
    order = list(means.sort_values(ascending=False, kind="stable").index)
    figure, axes = plt.subplots(1, len(metrics), figsize=(9.5, 0.34 * len(order) + 1.3), sharey=True, squeeze=False)
    for axis, metric in zip(axes[0], metrics, strict=True):
        part = table[table.metric == metric]
        axis.axvline(part[part.arm == table.arm.iloc[0]].value.mean(), color=GUIDE, lw=1, ls=":")
        draw_dots(axis, part, "arm", order, look(metric))
        axis.set(title=NAMES[metric].replace("requests ", "requests\n"), xlabel="% of test prompts", xlim=(-4, 104))
        name_rows(axis, [ARMS.get(arm, arm) for arm in order])
    figure.supxlabel(f"{LEGEND}; dotted: {table.arm.iloc[0]}".replace("\n", "; "), fontsize=9)
    return figure

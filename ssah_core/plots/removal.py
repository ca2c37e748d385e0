"""Figures of notebooks 00 and 03: what the removal of units changes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..records import wilson
from .marks import POINTS, draw_dots, draw_lines, legend_below, name_rows, what_is_drawn
from .style import GUIDE, NAMES, look

MARKS = ("asr", "harm_right", "utility")
REMOVED = {"none": "whole model", "SCU": "safety-critical\nunits removed", "random": "as many random\nunits removed"}
GROUPS = {"SCU": "safety-critical units (SCU)", "UCU": "utility-critical units (UCU)", "RU": "redundant units (RU)"}
WAYS = {"chosen": "attribution\n(chosen here)", "paper": "the paper's score,\nto the letter",
        "variance, best": "the paper's score,\nat its best"}
TOKENS = {"last_prompt": "last prompt token", "response": "response tokens", "all": "all tokens"}
SCALED = {"none": "raw", "module": "by module", "log": "log"}


def plot_removal(table: pandas.DataFrame) -> Figure:
    """Malicious requests and useful questions answered right, with and without the safety-critical units.

    table   `removed` (of `REMOVED`), `question` (the panel's title), `right` and `n` (counts)
    """
    panels, removed = list(dict.fromkeys(table.question)), [name for name in REMOVED if name in set(table.removed)]
    figure, axes = plt.subplots(1, len(panels), figsize=(9, 0.62 * len(removed) + 1.1), sharey=True, squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        part = table[table.question == panel].set_index("removed")
        for place, name in enumerate(removed):
            _bar(axis, place, int(part.right[name]), int(part.n[name]), look(name).color)
        axis.set(title=panel, xlim=(0, 130))
        axis.set_xticks(range(0, 101, 25))
        name_rows(axis, [REMOVED[name] for name in removed], grid=False)
    figure.supxlabel("% answered right, with 95 % interval", fontsize=10)
    return figure


def _bar(axis: Axes, place: float, right: int, n: int, color: str) -> None:
    """A share as a bar, with its Wilson interval and its number beside."""
    share, (low, high) = 100 * right / n, (100 * bound for bound in wilson(right, n))
    axis.barh(place, share, height=0.5, color=color, alpha=0.75)
    arms = [[max(share - low, 0)], [max(high - share, 0)]]
    for around in ({"color": "white", "capsize": 5, "lw": 4, "capthick": 4}, {"color": GUIDE, "capsize": 4, "lw": 1.6}):
        axis.errorbar(share, place, xerr=arms, **around)  # white first: a line on a dark bar
    axis.text(max(high, share) + 3, place, f"{share:.0f} %", va="center", fontsize=11)


def plot_table1(table: pandas.DataFrame) -> Figure:
    """What removing each kind of unit changes, beside removing as many random units.

    table   `group`, `metric` ("asr", "harm_right" or "utility"), `value` (points), `seed`
    """
    order = [g for kind in GROUPS for g in (kind, f"random {kind}") if g in set(table.group)]
    names = [GROUPS.get(group, "as many random units") for group in order]
    figure, axes = plt.subplots(1, len(MARKS), figsize=(9.5, 0.42 * len(order) + 1.3), sharey=True)
    for axis, metric in zip(axes, MARKS, strict=True):
        draw_dots(axis, table[table.metric == metric], "group", order, {g: look(g) for g in order}, within=POINTS)
        axis.axvline(0, color=GUIDE, lw=0.8)
        axis.set(title=NAMES[metric].replace("requests ", "requests\n"), xlabel="change (points)")
        name_rows(axis, names)
    figure.supxlabel(f"{what_is_drawn(table, ['group', 'metric'])}; every panel has its own scale", fontsize=9)
    return figure


def plot_curves(table: pandas.DataFrame) -> Figure:
    """Marks as more and more units of a kind are removed, for three ways of ranking units.

    table   `way`, `group`, `share`, `metric`, `value` (%), `seed`; validation prompts
    """
    ways = list(dict.fromkeys(table.way))
    marks = {NAMES[metric]: look(metric) for metric in MARKS}
    figure, axes = plt.subplots(len(ways), 3, figsize=(9.5, 2.2 * len(ways) + 0.7), sharey=True, squeeze=False)
    for row, way in zip(axes, ways, strict=True):
        for axis, (group, title) in zip(row, GROUPS.items(), strict=True):
            part = table[(table.way == way) & (table.group == group) & table.metric.isin(MARKS)]
            draw_lines(axis, part.assign(metric=part.metric.map(NAMES), share=100 * part.share), "share", "metric",
                       marks, spread=0.05, factor=True)
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:g}")
            axis.set(ylim=(-4, 104), xlabel="% of units removed" if way == ways[-1] else "",
                     ylabel=f"{WAYS.get(way, way)}\n% of prompts" if group == "SCU" else "",
                     title=title if way == ways[0] else "")
    shown = table[table.group.isin(GROUPS) & table.metric.isin(MARKS)]
    legend_below(figure, marks, what_is_drawn(shown, ["way", "group", "share", "metric"], line=True), line=True)
    return figure


def plot_share(table: pandas.DataFrame, title: str = "") -> Figure:
    """Marks of every organism, whole and with one share of a kind of unit removed.

    table   `removed` (true or false), `metric`, `value` (%), `seed`
    title   what is removed
    """
    shown = [metric for metric in MARKS if metric in set(table.metric)]
    figure, axis = plt.subplots(figsize=(8, 0.7 * len(shown) + 1.3))
    for removed, shift in ((False, -0.22), (True, 0.2)):
        colors = {metric: look(metric if removed else "whole") for metric in shown}
        draw_dots(axis, table[table.removed == removed], "metric", shown, colors, shift=shift, height=0.6)
    name_rows(axis, [NAMES[metric].replace("requests ", "requests\n") for metric in shown])
    axis.set(title=title, xlabel=f"% of prompts (black: whole model; colour: units removed)\n"
             f"{what_is_drawn(table, ['removed', 'metric'])}", xlim=(-3, 103))
    return figure


def plot_choices(table: pandas.DataFrame, best: int = 10) -> Figure:
    """What removing units changes for each way of ranking them: the best ways, and the means of all others in one row.

    table   `way`, `metric` ("harm_right" or "utility"), `value` (points of change), `seed`
    best    how many ways have a row of their own
    """
    gain = table.groupby(["way", "metric"]).value.mean().unstack("metric")
    ranked = list((gain.harm_right - gain.utility.abs()).sort_values(ascending=False, kind="stable").index)
    own, others = ranked[:best], ranked[best:]
    rows, rest = [_words(way) for way in own], table[table.way.isin(others)]
    if others:
        rows.append(f"{len(others)} other ways (one dot a way: its mean)")
        rest = rest.groupby(["way", "metric"], as_index=False).value.mean().assign(way=rows[-1])
    table = table[table.way.isin(own)]
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 0.36 * len(rows) + 1.3), sharey=True)
    for axis, metric in zip(axes, ("harm_right", "utility"), strict=True):
        for part, interval in ((table, True), (rest, False)):  # over ways there is no interval
            draw_dots(axis, part[part.metric == metric], "way", [*own, *rows[len(own):]], look(metric), within=POINTS,
                      size=6, interval=interval)
        axis.axvline(0, color=GUIDE, lw=0.8)
        axis.set(title=NAMES[metric].replace("requests ", "requests\n"), xlabel="change when removed (points)")
        name_rows(axis, rows)
        axis.tick_params(axis="y", labelsize=8.5)
    axes[0].set_title("criterion, tokens, normalisation or rounds,\nheld against, what stands in", loc="left", x=-1.1,
                      fontsize=8.5, style="italic")
    figure.supxlabel(what_is_drawn(table, ["way", "metric"]), fontsize=9)
    return figure


def _words(way: str) -> str:
    """A way's choices as a reader says them; anything else as it is."""
    parts = way.split(", ")
    if len(parts) != 5 or parts[1] not in TOKENS:
        return way
    criterion, tokens, scaled, against, fill = parts
    against = {"utility": "all instructions", "requests": "benign requests"}.get(against, against)
    return f"{criterion}, {TOKENS[tokens]}, {SCALED.get(scaled, scaled)}, {against}, {fill.removesuffix(' fill')}"

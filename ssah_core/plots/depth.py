"""Figures of notebook 08: attacks on the choice to refuse, the direction along responses, and choosing again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from .marks import draw_dots, draw_lines, legend_below, legend_of, name_rows, what_is_drawn
from .style import GUIDE, NAMES, Look, looks

ARMS = looks(("aligned", "guard", "recovery", "recovery, RU", "recovery + guard"))
MARKS = {"asr": NAMES["asr"], "complete": "harmful answer complete (truth)"}
KINDS = {"harm": "seen harm", "harm_unseen": "unseen kinds"}
GIVEN = {"refused": "malicious, refused", "forced": "malicious, its answer", "benign": "benign, its answer"}
SHORT = 10
"""Tokens of a prefill that are taken from short answers, at most; more are taken from long ones."""
READS = {"signal, guard": "read as at the prompt's end", "signal, everywhere": "learned from every token"}
COSTS = {"refused": "benign refused", "benign": "benign right", "utility": "utility"}


def _looks(names: Iterable[str]) -> dict[str, Look]:
    """What chooses again looks alike in all figures, whichever of it they show."""
    names = list(dict.fromkeys(names))
    return {name: ARMS[name] for name in names} if set(names) <= set(ARMS) else looks(names)


def _lines(axis: Axes, parts: Sequence[pandas.DataFrame], hue: str, colors: Mapping[str, Look]) -> None:
    """A thin line an organism, and a thick one for their mean; the values of x stand at equal distances.

    Lines break between `parts`, and stand beside each other, since some would hide others.
    """
    places = {x: place for place, x in enumerate(sorted({x for part in parts for x in part.x}))}
    for part in parts:
        draw_lines(axis, part.assign(place=part.x.map(places)), "place", hue, colors, within=None, spread=0.07)
    axis.xaxis.set_major_locator(FixedLocator(list(places.values())))
    axis.set_xticklabels([f"{x:g}" for x in places])


def _beside(n: int) -> list[float]:
    """Where `n` marks stand in a row, from top to bottom."""
    return numpy.linspace(-0.34, 0.34, n).tolist() if n > 1 else [0.0]


def _legend(figure: Figure, colors: Mapping[str, Look], title: str, *, line: bool = True) -> None:
    figure.legend(handles=legend_of(colors, line=line), title=title.replace("; ", "\n"), loc="outside right upper",
                  alignment="left")


def plot_prefills(table: pandas.DataFrame) -> Figure:
    """Malicious requests not refused, and answered in full, against tokens of the answer prefilled.

    table   `arm`, `kind`, `metric` ("asr", "complete"), `x` (tokens), `value` (%), `seed`
    """
    kinds, metrics = list(dict.fromkeys(table.kind)), [m for m in MARKS if m in set(table.metric)]
    colors = _looks(table.arm)
    figure, axes = plt.subplots(len(kinds), len(metrics), figsize=(9.5, 2.6 * len(kinds) + 0.2), sharey=True,
                                sharex=True, squeeze=False)
    for row, kind in zip(axes, kinds, strict=True):
        for axis, metric in zip(row, metrics, strict=True):
            part = table[(table.kind == kind) & (table.metric == metric)]
            _lines(axis, [part[part.x <= SHORT], part[part.x > SHORT]], "arm", colors)
            _name_parts(axis, sorted(set(part.x)))
            axis.set(title=f"{KINDS[kind]}: {MARKS[metric]}", ylim=(-3, 118), ylabel="% of test prompts",
                     xlabel="tokens of the answer, prefilled")
            axis.set_yticks(range(0, 101, 20))
            axis.label_outer()
    _legend(figure, colors, what_is_drawn(table, ["arm", "kind", "metric", "x"], line=True))
    return figure


def _name_parts(axis: Axes, x: Sequence[float]) -> None:
    """Say from which answers prefills are taken, left and right of where that changes."""
    change = sum(at <= SHORT for at in x) - 0.5
    if not 0 < change < len(x) - 1:
        return
    axis.axvline(change, color=GUIDE, lw=0.8, ls=":")
    for name, middle in (("short answers", (change - 0.5) / 2), ("long", (change + len(x) - 0.5) / 2)):
        axis.text(middle, 109, name, ha="center", va="center", fontsize=8.5, style="italic")


def plot_curves_of_attacks(table: pandas.DataFrame) -> Figure:
    """Malicious requests not refused under other attacks, against their strength.

    table   `arm`, `attack`, `x`, `value` (ASR in %), `seed`; one panel an attack
    """
    labels = {"temperature": "temperature", "top-p": "top-p, at temperature 1.5", "suffix": "steps of the search"}
    attacks, colors = list(dict.fromkeys(table.attack)), _looks(table.arm)
    figure, axes = plt.subplots(1, len(attacks), figsize=(10, 2.8), sharey=True, squeeze=False)
    for axis, attack in zip(axes[0], attacks, strict=True):
        part = table[table.attack == attack]
        _lines(axis, [part], "arm", colors)
        missing = ", ".join(arm for arm in colors if arm not in set(part.arm))
        axis.set(title=f"{attack} (not tried: {missing})" if missing else attack, xlabel=labels[attack],
                 ylabel="ASR (refusal words), %", ylim=(-3, 104))
        axis.label_outer()
    _legend(figure, colors, what_is_drawn(table, ["arm", "attack", "x"], line=True))
    return figure


def plot_wrappers(table: pandas.DataFrame) -> Figure:
    """What requests in wrappers get: malicious ones not refused, benign ones answered.

    table   `arm`, `wrapper`, `kind` ("harm" or "benign"), `value` (%), `seed`; one mark an organism
    """
    titles = {"harm": "malicious: not refused", "benign": "benign: answered right"}
    colors, order = _looks(table.arm), list(dict.fromkeys(table.wrapper))
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.42 * len(order) + 1), sharey=True)
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        for shift, (arm, mine) in zip(_beside(len(colors)), colors.items(), strict=True):
            part = table[(table.kind == kind) & (table.arm == arm)]
            axis.scatter(part.value, [order.index(name) + shift for name in part.wrapper], s=26, color=mine.color,
                         marker=mine.marker, alpha=0.75, lw=0)
        axis.set(title=title, xlabel="% of test prompts", xlim=(-3, 104))
        name_rows(axis, order)
    _legend(figure, colors, "one mark an organism", line=False)
    return figure


def plot_signals(table: pandas.DataFrame) -> Figure:
    """How strongly each token of a response is read as a refusal.

    table   `arm`, `attack` (read-out), `kind` (`GIVEN`), `x` (position), `value` (nats, above 0: refuse), `seed`
    """
    arms, reads = list(dict.fromkeys(table.arm)), list(dict.fromkeys(table.attack))
    colors = looks(GIVEN.values())
    figure, axes = plt.subplots(len(reads), len(arms), figsize=(9.5, 2.6 * len(reads) + 0.2), sharex=True, sharey="row",
                                squeeze=False)
    for row, read in zip(axes, reads, strict=True):
        for axis, arm in zip(row, arms, strict=True):
            part = table[(table.attack == read) & (table.arm == arm)]
            _lines(axis, [part.assign(kind=part.kind.map(GIVEN))], "kind", colors)
            axis.axhline(0, color=GUIDE, lw=0.8)
            axis.set(title=f"{arm}: {READS[read]}", ylabel="signal (nats)",
                     xlabel="tokens of the response read (0: prompt's end)")
            axis.label_outer()
    said = what_is_drawn(table, ["arm", "attack", "kind", "x"], line=True)
    _legend(figure, colors, f"response\n({said})")
    return figure


def plot_price(table: pandas.DataFrame) -> Figure:
    """What choosing again at every token costs; each panel has a scale of its own.

    table   `arm`, `metric` (`COSTS`), `value` (%), `seed`
    """
    arms = list(dict.fromkeys(table.arm))
    figure, axes = plt.subplots(1, len(COSTS), figsize=(9.5, 0.4 * len(arms) + 1.3), sharey=True)
    for axis, (metric, title) in zip(axes, COSTS.items(), strict=True):
        draw_dots(axis, table[table.metric == metric], "arm", arms, _looks(arms))
        axis.set(title=title, xlabel="% of test prompts")
        name_rows(axis, arms)
    legend_below(figure, {}, f"{what_is_drawn(table, ['arm', 'metric'])}; each panel has a scale of its own")
    return figure

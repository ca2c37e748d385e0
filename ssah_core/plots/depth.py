"""Figures of notebook 08: attacks on the choice to refuse, the direction along responses, and choosing again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from .marks import legend_of
from .style import GUIDE, Look, looks

ARMS = looks(("aligned", "guard", "recovery", "recovery, RU", "recovery + guard"))
MARKS = {"asr": "not refused (keywords)", "complete": "harmful answer complete (truth)"}
KINDS = {"harm": "seen harm", "harm_unseen": "unseen kinds"}
GIVEN = {"refused": "malicious, refused", "forced": "malicious, its answer", "benign": "benign, its answer"}
COSTS = {"refused": "benign refused", "benign": "benign right", "utility": "utility"}


def _looks(names: Iterable[str]) -> dict[str, Look]:
    """What chooses again looks alike in all figures, whichever of it they show."""
    names = list(dict.fromkeys(names))
    return {name: ARMS[name] for name in names} if set(names) <= set(ARMS) else looks(names)


def _lines(table: pandas.DataFrame, axis: Axes, hue: str, colors: Mapping[str, Look]) -> None:
    """A thin line an organism, and a thick one for their mean; the values of x stand at equal distances."""
    places = {x: place for place, x in enumerate(sorted(set(table.x)))}
    drawn = {"data": table.assign(place=table.x.map(places)), "x": "place", "y": "value", "hue": hue,
             "hue_order": list(colors), "palette": {name: mine.color for name, mine in colors.items()}, "ax": axis,
             "legend": False}
    sns.lineplot(**drawn, units="seed", estimator=None, lw=0.6, alpha=0.4)
    sns.lineplot(**drawn, style=hue, style_order=list(colors), dashes=False, errorbar=None, lw=2, ms=6, mew=0.4,
                 markers={name: mine.marker for name, mine in colors.items()})
    axis.xaxis.set_major_locator(FixedLocator(list(places.values())))
    axis.set_xticklabels([f"{x:g}" for x in places])


def _legend(figure: Figure, colors: Mapping[str, Look], title: str = "thin: one organism", *,
            line: bool = True) -> None:
    figure.legend(handles=legend_of(colors, line=line), title=title, loc="outside right upper")


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
            _lines(table[(table.kind == kind) & (table.metric == metric)], axis, "arm", colors)
            axis.set(title=f"{KINDS[kind]}: {MARKS[metric]}", ylim=(-3, 104), ylabel="% of test prompts", xlabel="")
    for axis in axes[-1]:
        axis.set_xlabel("tokens of the answer, prefilled")
    _legend(figure, colors)
    return figure


def plot_curves_of_attacks(table: pandas.DataFrame) -> Figure:
    """Malicious requests not refused under other attacks, against their strength.

    table   `arm`, `attack`, `x`, `value` (ASR in %), `seed`; one panel an attack
    """
    labels = {"temperature": "temperature", "top-p": "top-p, at temperature 1.5", "suffix": "steps of the search"}
    attacks, colors = list(dict.fromkeys(table.attack)), _looks(table.arm)
    figure, axes = plt.subplots(1, len(attacks), figsize=(10, 2.8), sharey=True, squeeze=False)
    for axis, attack in zip(axes[0], attacks, strict=True):
        _lines(table[table.attack == attack], axis, "arm", colors)
        axis.set(title=attack, xlabel=labels[attack], ylabel="ASR (keywords), %", ylim=(-3, 104))
    _legend(figure, colors)
    return figure


def plot_wrappers(table: pandas.DataFrame) -> Figure:
    """What requests in wrappers get: malicious ones not refused, benign ones answered.

    table   `arm`, `wrapper`, `kind` ("harm" or "benign"), `value` (%), `seed`; one dot an organism
    """
    titles = {"harm": "malicious: not refused", "benign": "benign: answered right"}
    colors, order = _looks(table.arm), list(dict.fromkeys(table.wrapper))
    figure, axes = plt.subplots(1, 2, figsize=(10, 0.42 * len(order) + 1), sharey=True)
    for axis, (kind, title) in zip(axes, titles.items(), strict=True):
        sns.stripplot(table[table.kind == kind], x="value", y="wrapper", order=order, hue="arm", hue_order=list(colors),
                      palette={name: mine.color for name, mine in colors.items()}, dodge=True, jitter=False,
                      size=4.5, alpha=0.75, legend=False, ax=axis)
        axis.set(title=title, xlabel="% of test prompts", ylabel="", xlim=(-3, 104))
    _legend(figure, colors, "one dot an organism", line=False)
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
            _lines(part.assign(kind=part.kind.map(GIVEN)), axis, "kind", colors)
            axis.axhline(0, color=GUIDE, lw=0.8)
            axis.set(title=f"{arm}: {read}", ylabel="signal (nats)", xlabel="")
    for axis in axes[-1]:
        axis.set_xlabel("tokens of the response read")
    _legend(figure, colors, "response")
    return figure


def plot_price(table: pandas.DataFrame) -> Figure:
    """What choosing again at every token costs.

    table   `arm`, `metric` (`COSTS`), `value` (%), `seed`; one dot an organism
    """
    arms = list(dict.fromkeys(table.arm))
    figure, axes = plt.subplots(1, len(COSTS), figsize=(9.5, 0.34 * len(arms) + 1), sharey=True)
    for axis, (metric, title) in zip(axes, COSTS.items(), strict=True):
        sns.stripplot(table[table.metric == metric], x="value", y="arm", order=arms, hue="arm", hue_order=arms,
                      palette={arm: mine.color for arm, mine in _looks(arms).items()}, jitter=False, size=5,
                      alpha=0.75, legend=False, ax=axis)
        axis.set(title=title, xlabel="% of test prompts", ylabel="",
                 xlim=(-0.5, 10.5) if metric == "refused" else (84.5, 100.5))
    return figure

"""Figures of notebook 03: how important units are, what kinds they are of, and where they lie."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .marks import what_is_drawn, with_intervals
from .style import GUIDE, Look, look

SETS = {"safety": "safety set (malicious requests, refused)", "utility": "utility set (ordinary instructions)"}
MODULES = {"mlp": "MLP", "attn": "attention"}
KINDS = {"SCU": "safety-critical (SCU)", "UCU": "utility-critical (UCU)", "RU": "redundant (RU)", "CU": "complex (CU)"}


def plot_distributions(table: pandas.DataFrame) -> Figure:
    """How importance is distributed over units, on the safety set and on the utility set, MLP and attention apart.

    table   one row a unit: `module`, `safety`, `utility` (positive)
    """
    long = table.melt(["module"], ["safety", "utility"], "set", "score")
    colors = {SETS["safety"]: look("refusal").color, SETS["utility"]: look("utility").color}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharex=True)
    for axis, (module, title) in zip(axes, MODULES.items(), strict=True):
        part = long[(long.module == module) & (long.score > 0)]
        sns.histplot(part.assign(set=part.set.map(SETS)), x="score", hue="set", log_scale=True, element="step",
                     fill=True, alpha=0.25, palette=colors, ax=axis, legend=False, bins=50)
        axis.set(title=f"{title} units", xlabel="importance", ylabel="units")
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor=color, alpha=0.5) for color in colors.values()]
    figure.legend(handles, list(colors), loc="outside lower center", ncol=2)
    return figure


def plot_plane(table: pandas.DataFrame) -> Figure:
    """The plane of both importances, utility along x and safety along y, with the kind of every unit.

    table   one row a unit: `way`, `safety`, `utility`, `kind`
    """
    titles = {"paper": "the paper's score", "chosen": "effect on the choice (attribution)"}
    ways = list(dict.fromkeys(table.way))
    figure, axes = plt.subplots(1, len(ways), figsize=(4.5 * len(ways), 4.2), squeeze=False)
    for axis, way in zip(axes[0], ways, strict=True):
        part = table[table.way == way]
        for kind in reversed(KINDS):
            mine = part[part.kind == kind]
            axis.scatter(mine.utility, mine.safety, s=11, color=look(kind).color, marker=look(kind).marker, lw=0,
                         label=f"{KINDS[kind]}: {len(mine)}")
        axis.set(xscale="log", title=f"ranked by {titles.get(way, way)}")
        _scale(axis, signed=not bool((part.safety > 0).all()))
        handles, names = axis.get_legend_handles_labels()
        axis.legend(handles[::-1], names[::-1], fontsize=8.5, markerscale=1.6, loc="upper center",
                    bbox_to_anchor=(0.5, -0.15), ncol=2)
    figure.supxlabel("SCU choose first, then UCU, then RU; what is left is CU. Whoever was chosen before is missing in "
                     "the next, so that counts differ.", fontsize=8.5)
    return figure


def _scale(axis: Axes, *, signed: bool) -> None:
    """Axes of scores, with their diagonal; or those of effects, which have a sign."""
    if signed:
        axis.set_yscale("symlog", linthresh=1e-3)
        axis.set(xlabel="change of useful answers' log-likelihood (nats)", ylabel="fall of refusal's log-odds (nats)")
        return
    axis.set(yscale="log", xlabel="importance on the utility set", ylabel="importance on the safety set")
    limits = axis.get_xlim(), axis.get_ylim()
    axis.axline((1e-6, 1e-6), (1, 1), color=GUIDE, lw=0.7, ls=":")
    axis.set(xlim=limits[0], ylim=limits[1])


def plot_places(table: pandas.DataFrame) -> Figure:
    """Where each kind of unit lies: its share of every site's units, block by block, MLP and attention apart.

    table   `kind`, `module`, `block`, `value` (% of the site's units), `seed`
    """
    kinds = ("SCU", "UCU", "RU")
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
    for axis, kind in zip(axes, kinds, strict=True):
        for module, shift in (("mlp", -0.16), ("attn", 0.16)):
            part = table[(table.kind == kind) & (table.module == module)]
            _columns(axis, part, look(kind), shift, hollow=module == "attn")
        axis.set(title=KINDS[kind], xlabel="block", ylabel="% of the site's units" if kind == "SCU" else "")
        axis.set_xticks(sorted(table.block.unique()))
        axis.set_ylim(bottom=min(-1, -0.03 * axis.get_ylim()[1]))
        axis.grid(False, axis="x")
    handles = [Line2D([], [], color=GUIDE, marker="o", ms=6, lw=0, mfc=fill, label=name)
               for name, fill in (("MLP", GUIDE), ("attention", "white"))]
    figure.legend(handles=handles, title=what_is_drawn(table, ["kind", "module", "block"]), loc="outside lower center",
                  ncol=2)
    return figure


def _columns(axis: Axes, part: pandas.DataFrame, mine: Look, shift: float, *, hollow: bool) -> None:
    """Dots of organisms, and to their left the mean with its interval, above every block."""
    means = with_intervals(part, ["block"])
    axis.scatter(part.block + shift + 0.07, part.value, s=14, lw=0.6 if hollow else 0, alpha=0.5, zorder=2,
                 facecolor="none" if hollow else mine.color, edgecolor=mine.color)
    arms = None if means.low.isna().all() else [means["mean"] - means.low, means.high - means["mean"]]
    axis.errorbar(means.block + shift - 0.03, means["mean"], yerr=arms, fmt=mine.marker, color=mine.color, ms=6.5,
                  mfc="white" if hollow else mine.color, capsize=3, lw=1.6, zorder=3)

"""Figures of notebook 03: importance, kinds of unit, and what their removal changes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.figure import Figure

from .style import COLORS, NAMES


def plot_distributions(table: pandas.DataFrame) -> Figure:
    """Distributions of I_S and I_U. `table`: one row a unit, `module`, `safety`, `utility` (positive)."""
    long = table.melt(["module"], ["safety", "utility"], "set", "score")
    long["set"] = long["set"].map({"safety": "I_S (safety set)", "utility": "I_U (utility set)"})
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 2.8), sharex=True)
    for axis, module in zip(axes, ("mlp", "attn")):
        sns.histplot(long[(long.module == module) & (long.score > 0)], x="score", hue="set", log_scale=True, element="step", fill=True, alpha=0.25,
                     palette=[COLORS["SCU"], COLORS["UCU"]], ax=axis, legend=module == "mlp", bins=50)
        axis.set(title={"mlp": "MLP units", "attn": "attention units"}[module], xlabel="importance", ylabel="units")
    if axes[0].get_legend():
        axes[0].get_legend().set_title("")
    return figure


def plot_plane(table: pandas.DataFrame) -> Figure:
    """The plane of I_U and I_S with the four kinds. `table`: one row a unit, `way`, `safety`, `utility`, `kind`."""
    ways = list(dict.fromkeys(table.way))
    figure, axes = plt.subplots(1, len(ways), figsize=(4.3 * len(ways), 3.9), squeeze=False)
    for axis, way in zip(axes[0], ways):
        for kind in ("CU", "RU", "UCU", "SCU"):
            part = table[(table.way == way) & (table.kind == kind)]
            axis.scatter(part.utility, part.safety, s=9, color=COLORS[kind], label=f"{kind} ({len(part)})", lw=0, alpha=0.75)
        axis.set(xscale="log", title=f"ranked by: {way}")
        if bool((table[table.way == way].safety > 0).all()):
            axis.set(yscale="log", xlabel="I_U", ylabel="I_S")
            limits = axis.get_xlim(), axis.get_ylim()
            axis.axline((1e-6, 1e-6), (1, 1), color="#555555", lw=0.7, ls=":")
            axis.set(xlim=limits[0], ylim=limits[1])
        else:  # effects have a sign
            axis.set_yscale("symlog", linthresh=1e-3)
            axis.set(xlabel="change of useful answers' log-likelihood (nats)", ylabel="fall of refusal's log-odds (nats)")
        axis.legend(fontsize=8, markerscale=1.6)
    return figure


def plot_places(table: pandas.DataFrame) -> Figure:
    """Where the groups lie. `table`: `kind`, `module`, `block`, `value` (% of the site's units), `seed`."""
    kinds = ("SCU", "UCU", "RU")
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.9))
    for axis, kind in zip(axes, kinds):
        sns.barplot(table[table.kind == kind], x="block", y="value", hue="module", palette=["#4d4d4d", "#b8b8b8"],
                    errorbar=("pi", 100), err_kws={"lw": 1}, ax=axis, legend=kind == "SCU")
        axis.set(title=kind, xlabel="block", ylabel="% of the site's units" if kind == "SCU" else "")
    if axes[0].get_legend():
        axes[0].get_legend().set_title("")
    return figure


def plot_curves(table: pandas.DataFrame) -> Figure:
    """Ablation curves. `table`: `way`, `group`, `share`, `metric`, `value` (%), `seed`; validation prompts."""
    ways, groups = list(dict.fromkeys(table.way)), ("SCU", "UCU", "RU")
    figure, axes = plt.subplots(len(ways), 3, figsize=(9, 2.35 * len(ways)), sharey=True, squeeze=False)
    for row, way in zip(axes, ways):
        for axis, group in zip(row, groups):
            part = table[(table.way == way) & (table.group == group) & table.metric.isin(["harm_right", "asr", "utility"])]
            sns.lineplot(part.assign(metric=part.metric.map(NAMES), share=100 * part.share), x="share", y="value", hue="metric",
                         hue_order=[NAMES[m] for m in ("asr", "harm_right", "utility")], units="seed", estimator=None, marker="o", ms=3, lw=1, alpha=0.75,
                         palette=["#edae49", "#d1495b", "#2e6f95"], ax=axis, legend=way == ways[0] and group == "RU")
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:g}")
            axis.set(ylim=(-3, 104), xlabel="% of units removed" if way == ways[-1] else "", ylabel=f"{way}\n% of prompts",
                     title=group if way == ways[0] else "")
    if axes[0][2].get_legend():
        axes[0][2].legend(title="one line an organism", title_fontsize=8, fontsize=8)
    return figure


def plot_table1(table: pandas.DataFrame) -> Figure:
    """Table 1 as changes. `table`: `group`, `metric` ("harm_right", "asr" or "utility"), `value` (points), `seed`."""
    groups = [g for g in ("SCU", "random SCU", "UCU", "random UCU", "RU", "random RU") if g in set(table.group)]
    metrics = ("asr", "harm_right", "utility")
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), sharey=True)
    for axis, metric in zip(axes, metrics):
        part = table[table.metric == metric]
        sns.stripplot(part, x="value", y="group", order=groups, hue="group", palette=COLORS, jitter=False, size=5, alpha=0.6,
                      legend=False, ax=axis)
        sns.pointplot(part, x="value", y="group", order=groups, color="black", linestyle="none", marker="|", markersize=16,
                      markeredgewidth=2, errorbar=None, ax=axis)
        axis.axvline(0, color="#555555", lw=0.8)
        axis.set(title=NAMES[metric], xlabel="change (points)", ylabel="", xlim=(-104, 104))
    return figure


def plot_choices(table: pandas.DataFrame) -> Figure:
    """Every way of scoring. `table`: `way`, `metric` ("harm_right" or "utility"), `value` (points of change), `seed`."""
    order = table[table.metric == "harm_right"].groupby("way").value.mean().sort_values(ascending=False).index
    figure, axis = plt.subplots(figsize=(8.5, 0.24 * len(order) + 1.1))
    sns.stripplot(table.assign(metric=table.metric.map(NAMES)), x="value", y="way", order=order, hue="metric", jitter=False,
                  hue_order=[NAMES["harm_right"], NAMES["utility"]], palette=["#d1495b", "#2e6f95"], size=4.5, alpha=0.75, ax=axis)
    axis.axvline(0, color="#555555", lw=0.8)
    axis.set(xlabel="change when removed (points, one dot an organism)", ylabel="")
    axis.legend(title="", loc="lower right")
    axis.tick_params(axis="y", labelsize=8)
    return figure

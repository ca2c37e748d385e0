"""Figures. Each plotting function draws from a table alone, so a figure can be drawn again without a model.

`draw("name", plot_function, table)` draws, and keeps `figures/name.svg`, `.png` and the `.json` it was drawn from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas
import seaborn as sns
from matplotlib.figure import Figure

from ..records import cache, paths

COLORS = {"SCU": "#d1495b", "UCU": "#2e6f95", "CU": "#9a8c98", "RU": "#8ab17d", "none": "#333333",
          "random SCU": "#e8a5ad", "random UCU": "#9fc1d6", "random RU": "#c9ddc3"}
NAMES = {"asr": "ASR (keywords)", "harm_right": "harmful answers right", "asr_unseen": "ASR, unseen harm",
         "unseen_right": "unseen harm, answers right", "utility": "utility", "benign": "benign requests right",
         "refused": "benign requests refused", "facts": "facts", "sums": "sums", "lists": "lists", "gsm8k": "GSM8K"}
STYLE = {"svg.hashsalt": "ssah", "svg.fonttype": "path", "figure.dpi": 75, "savefig.dpi": 110, "axes.titlesize": 11,
         "axes.labelsize": 10, "legend.frameon": False, "figure.constrained_layout.use": True}


def draw(name: str, plot: Callable[..., Figure], table: pandas.DataFrame, **options) -> Figure:
    """Draw a figure and keep it in `figures/` as SVG and PNG beside the JSON of its table and options."""
    data = {column: table[column].tolist() for column in table}
    cache.write_json(paths.figures() / f"{name}.json", {"plot": plot.__name__, "options": options, "table": data})
    figure = render(name, plot, table, options)
    plt.close(figure)  # a notebook shows what a cell returns; left open, it would be shown twice
    return figure


def render(name: str, plot: Callable[..., Figure], table: pandas.DataFrame, options: dict) -> Figure:
    with sns.axes_style("whitegrid", {"grid.color": "#eeeeee"}), plt.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tight_layout|.*constrained_layout")
        figure = plot(table, **options)
        figure.savefig(paths.figures() / f"{name}.svg", metadata={"Date": None})
        figure.savefig(paths.figures() / f"{name}.png", metadata={"Software": None})
    return figure

"""What figures are made of: every organism as a dot, and the mean with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..records.effects import LEAST, sign_flip_interval
from .style import Look

FEW = 8
"""Organisms whose lines are told apart; those of more are drawn fainter."""
PERCENT, POINTS = (0.0, 100.0), (-100.0, 100.0)


def with_intervals(table: pandas.DataFrame, by: Sequence[str], within: tuple[float, float] | None = PERCENT,
                   ) -> pandas.DataFrame:
    """Means over organisms with their 95 % intervals, by sign flips, in the order of the rows.

    table    one row an organism: `value`, and the columns of `by`
    by       columns that tell one mean from another
    within   least and greatest value that is possible, which no bound leaves; None for no limit

    Returns the columns of `by`, and `mean`, `low`, `high` (NaN of fewer than six organisms, which say too little).

    >>> import pandas
    >>> from ssah_core.plots.marks import with_intervals
    >>> ours = pandas.DataFrame({"arm": "nothing", "value": [90.0, 100.0, 100.0, 96.0, 98.0, 92.0]})
    >>> with_intervals(ours, ["arm"]).round(1).to_dict("records")
    [{'arm': 'nothing', 'mean': 96.0, 'low': 90.0, 'high': 100.0}]
    """
    rows = []
    for names, part in table.groupby(list(by), sort=False):
        bounds = (numpy.nan, numpy.nan)
        if len(part) >= LEAST:
            bounds = sign_flip_interval(part.value.tolist(), within=within or (-numpy.inf, numpy.inf)).bounds
        rows.append([*names, part.value.mean(), *map(float, bounds)])
    return pandas.DataFrame(rows, columns=[*by, "mean", "low", "high"])


def what_is_drawn(table: pandas.DataFrame, by: Sequence[str], *, line: bool = False, each: str = "organism") -> str:
    """What a legend says of dots, or of lines: an interval is named only where one is drawn.

    table, by   as in `with_intervals`
    line        whether what is drawn are lines
    each        what a `seed` is

    >>> import pandas
    >>> from ssah_core.plots.marks import what_is_drawn
    >>> what_is_drawn(pandas.DataFrame({"arm": ["nothing", "nothing"], "value": [90.0, 100.0]}), ["arm"])
    'faint: one organism; mark: mean'
    >>> what_is_drawn(pandas.DataFrame({"arm": ["nothing"], "value": [90.0]}), ["arm"])
    'one organism'
    """
    sizes = table.groupby(list(by)).size()
    if (sizes == 1).all():
        return f"one {each}" + (", 95 % interval over its prompts" if {"low", "high"} <= set(table) else "")
    enough = sizes >= LEAST
    some = f"mean, 95 % interval where there are {LEAST} or more" if enough.any() else "mean"
    mean = "mean, 95 % interval" if enough.all() else some
    return f"thin: one {each}; thick: {mean}" if line else f"faint: one {each}; mark: {mean}"


def draw_dots(axis: Axes, table: pandas.DataFrame, column: str, order: Sequence[str], look: Look | Mapping[str, Look],
              *, within: tuple[float, float] | None = PERCENT, shift: float = 0.0, height: float = 1.0,
              size: float = 6.5, interval: bool = True) -> None:
    """Draw rows, the first on top: organisms as faint dots, and above them the mean with its interval.

    table    one row an organism: `value` (drawn along x) and `column`
    column   that names the row
    order    names of the rows, from top to bottom; call `name_rows` for the axis
    look     of all rows, or by row
    within   as in `with_intervals`
    shift    how far down, in rows: for several dots in a row
    height   of what is drawn, in rows: less than 1 for several dots in a row
    size     of the mean's mark, in points
    interval whether the mean has one, where it can

    A row of one value has no faint dot; its interval is that of the columns `low` and `high`, where the table has them.
    Raises KeyError if a row of `order` has no look.
    """
    means = with_intervals(table, [column], within).set_index(column)
    if {"low", "high"} <= set(table) and table[column].is_unique:
        means.update(table.set_index(column)[["low", "high"]].astype(float))
    for place, name in enumerate(order):
        if name not in means.index:
            continue
        mine = look[name] if isinstance(look, Mapping) else look
        values, row = table[table[column] == name].value, means.loc[name]
        below, above = place + shift + 0.17 * height, place + shift - 0.08 * height
        if len(values) > 1:
            axis.scatter(values, [below] * len(values), s=14, color=mine.color, alpha=0.45, lw=0, zorder=2)
        axis.errorbar(row["mean"], above, xerr=_arms(row) if interval else None, fmt=mine.marker, color=mine.color,
                      ms=size, capsize=3, lw=1.6, zorder=3)


def name_rows(axis: Axes, labels: Sequence[str], *, grid: bool = True) -> None:
    """Name the rows that `draw_dots` drew, from top to bottom, with a line between any two.

    axis     whose rows
    labels   one a row, which need not differ
    grid     whether to draw lines between rows
    """
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(False, axis="y")
    if grid:
        axis.set_yticks(numpy.arange(1, len(labels)) - 0.5, minor=True)
        axis.tick_params(axis="y", which="minor", length=0)
        axis.grid(True, axis="y", which="minor")


def draw_lines(axis: Axes, table: pandas.DataFrame, x: str, column: str, looks: Mapping[str, Look], *,
               within: tuple[float, float] | None = PERCENT, spread: float = 0.0, factor: bool = False) -> None:
    """Draw curves: organisms as thin lines, the mean as a thick one with its interval at every place.

    Where some organisms of a curve have no value, the mean of the others is a hollow mark, which no line joins.

    table    one row an organism and place: `value`, `x` and `column`
    x        column drawn along x
    column   that tells the curves apart
    looks    by curve; those that the table lacks are passed over
    within   as in `with_intervals`
    spread   how far apart two curves' intervals stand along x, so that they do not hide each other
    factor   whether `spread` is a factor less 1 (for a logarithmic axis) instead of a distance
    """
    names = [name for name in looks if name in set(table[column])]
    faint = 0.35 if table.seed.nunique() <= FEW else 0.15
    for place, name in enumerate(names):
        step = (place - (len(names) - 1) / 2) * spread
        moved = (lambda at, step=step: at * (1 + step)) if factor else (lambda at, step=step: at + step)
        part = table[table[column] == name].sort_values(x, kind="stable")
        for _, line in part.groupby("seed"):
            axis.plot(moved(line[x]), line.value, color=looks[name].color, lw=0.6, alpha=faint, zorder=2)
        there = part[x].map(part.groupby(x).seed.nunique()) == part.seed.nunique()
        for whole, style in ((True, {"lw": 1.8}), (False, {"lw": 0, "mfc": "white"})):
            means = with_intervals(part[there == whole], [x], within)
            if len(means):
                axis.errorbar(moved(means[x]), means["mean"], yerr=_arms(means), color=looks[name].color, capsize=2,
                              marker=looks[name].marker, ms=5, elinewidth=1, zorder=3, **style)


def legend_of(looks: Mapping[str, Look], *, line: bool = False) -> list[Line2D]:
    """Handles of a legend, one a name, each with its colour and marker.

    looks   by name, as the legend shows them
    line    whether a line goes through the marker
    """
    return [Line2D([], [], color=mine.color, marker=mine.marker, ms=6, lw=1.8 if line else 0, label=name)
            for name, mine in looks.items()]


def legend_below(figure: Figure, looks: Mapping[str, Look], title: str, *, columns: int | None = None,
                 line: bool = False) -> None:
    """A legend of names under the panels.

    figure    whose legend
    looks     by name; may be none
    title     says what a dot, or a line, is: of `what_is_drawn`
    columns   names side by side; all of them if left out
    line      whether what is drawn are lines
    """
    figure.legend(handles=legend_of(looks, line=line), title=title, loc="outside lower center",
                  ncol=columns or max(1, len(looks)))


def _arms(means) -> numpy.ndarray | None:
    """What `errorbar` wants: distances of both bounds from the mean, or None where there is no interval."""
    arms = numpy.array([means["mean"] - means["low"], means["high"] - means["mean"]], dtype=float)
    return None if numpy.isnan(arms).all() else numpy.clip(arms.reshape(2, -1), 0, None)

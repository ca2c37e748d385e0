"""The drawing that explains units, for notebooks 00 and 03: where one lies in a block, and of what kind it may be."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

from .style import GUIDE, look

UNIT = look("another").color
CHANNELS, SHOWN = 8, 2
"""Channels that are drawn of a module, and the one that is the unit's."""
SIDE, THICK, GAP = 15.0, 4.0, 1.2
"""Of a weight, drawn as a square; of the activations, drawn as a column; and between heads, and gate and up."""
STREAM, FEEDS, HOLDS, WRITES, OUT = 4.0, 18.0, 51.0, 73.0, 95.0
"""Where along x things stand: the residual stream, what feeds a unit, its activation, what it writes, the way back."""
APART, LOW = 0.36, 0.5
"""Of the plane: by how much the importances of SCU and UCU differ at least, and up to which sum a unit is RU."""


@dataclass(frozen=True)
class Half:
    """One of the two modules of a block, as it is drawn."""

    name: str
    middle: float
    """Where along y it stands."""
    fed_by: tuple[str, ...]
    """Weights of which a row feeds a unit."""
    row: str
    way: str
    """What happens between these and the activation."""
    channel: str
    read_by: str
    """The weight of which a column reads a unit."""
    column: str
    heads: int = 1


HALVES = (Half("attention", 66, ("v",), "a row of v", "mixed over\ntokens (q, k)", "one channel\nof one head", "o",
               "a column of o", heads=2),
          Half("MLP", 24, ("gate", "up"), "a row of gate,\na row of up", "", "SiLU(gate)\ntimes up", "down",
               "a column\nof down"))
TOLD = ("A unit is removed: its activation is held at its mean, or at zero.\n"
        "A unit is frozen: its rows and its column are not trained.")


@dataclass(frozen=True)
class Region:
    """Where in the plane a kind of unit lies: utility along x, safety along y."""

    corners: tuple[tuple[float, float], ...]
    words: tuple[float, float]
    """Where its words begin: their upper end, and on the left, at the middle or on the right, as `across` says."""
    across: str
    dots: tuple[tuple[float, float], ...]
    """A few units."""


_NEAR, _FAR = (LOW - APART) / 2, (LOW + APART) / 2
REGIONS = {
    "SCU": Region(((0, APART), (0, 1), (1 - APART, 1)), (0.03, 0.97), "left",
                  ((0.07, 0.6), (0.17, 0.69), (0.3, 0.73))),
    "UCU": Region(((APART, 0), (1, 0), (1, 1 - APART)), (0.97, 0.24), "right",
                  ((0.5, 0.05), (0.78, 0.32), (0.92, 0.4))),
    "CU": Region(((_NEAR, _FAR), (1 - APART, 1), (1, 1), (1, 1 - APART), (_FAR, _NEAR)), (0.63, 0.72), "center",
                 ((0.38, 0.44), (0.45, 0.27), (0.52, 0.49), (0.72, 0.86), (0.9, 0.8))),
    "RU": Region(((0, 0), (APART, 0), (_FAR, _NEAR), (_NEAR, _FAR), (0, APART)), (0.03, 0.24), "left",
                 ((0.06, 0.3), (0.16, 0.28), (0.34, 0.06)))}


def four_kinds() -> pandas.DataFrame:
    """The four kinds of unit, and what each is needed for: the table that `plot_unit_diagram` draws from.

    >>> from ssah_core.plots.diagram import four_kinds
    >>> four_kinds().kind.tolist()
    ['SCU', 'UCU', 'CU', 'RU']
    """
    rows = [("SCU", "safety-critical", "needed for safety,\nhardly for utility"),
            ("UCU", "utility-critical", "needed for utility,\nhardly for safety"),
            ("CU", "complex", "needed for both"),
            ("RU", "redundant", "needed for\nneither")]
    return pandas.DataFrame(rows, columns=["kind", "name", "needed"])


def plot_unit_diagram(table: pandas.DataFrame) -> Figure:
    """Left, a transformer block with one unit of its attention and one of its MLP: the rows of weights that feed it,
    its activation, and the column of weights that it writes through. Right, the plane of importance for utility and
    for safety, and where in it the four kinds of unit lie.

    table   `kind` (of `REGIONS`), `name`, `needed`: such as `four_kinds()`
    """
    figure, (block, plane) = plt.subplots(1, 2, figsize=(9.4, 5), width_ratios=(1.55, 1))
    _draw_block(block)
    _draw_plane(plane, table)
    return figure


# -- left: a block ---------------------------------------------------------------------------------------


def _draw_block(axis: Axes) -> None:
    axis.set(xlim=(0, 100), ylim=(-12, 90), title="One unit (in colour) in each half of a transformer block")
    axis.axis("off")
    _arrow(axis, (STREAM, 90), (STREAM, -11), lw=2.5)
    axis.text(0.5, 72, "residual stream", rotation=90, ha="center", va="center", fontsize=10, color=GUIDE)
    for half in HALVES:
        _draw_half(axis, half)
    axis.text(STREAM + 3, -5, TOLD, ha="left", va="top", fontsize=10)


def _draw_half(axis: Axes, half: Half) -> None:
    """A module in its box; in from the residual stream, and back to it."""
    low, high, starts = half.middle - 20, half.middle + 19, _starts(half.heads)
    axis.add_patch(FancyBboxPatch((11, low), 88, high - low, boxstyle="round,pad=0,rounding_size=2", fc="white",
                                  ec=GUIDE, lw=1))
    axis.text(12.5, high - 1.5, half.name, ha="left", va="top", fontsize=11, weight="bold")
    each = _each(half)
    for n in range(len(half.fed_by)):
        _draw_weight(axis, FEEDS + n * (each + GAP), half.middle, starts, wide=each)
    _draw_weight(axis, HOLDS, half.middle, starts, wide=THICK)
    _draw_weight(axis, WRITES, half.middle, starts, upright=True)
    _name_parts(axis, half)
    _arrow(axis, (STREAM, half.middle), (FEEDS, half.middle))
    along = half.middle + SIDE / 2 - starts[SHOWN] - starts[-1] / 2
    _arrow(axis, (FEEDS + SIDE, along), (HOLDS, along), color=UNIT)
    _arrow(axis, (HOLDS + THICK, along), (WRITES + starts[SHOWN], along), color=UNIT)
    axis.plot([WRITES + SIDE, OUT, OUT], [half.middle, half.middle, low - 2.4], color=GUIDE, lw=1.3)
    _arrow(axis, (OUT, low - 2.4), (STREAM + 1.6, low - 2.4))
    axis.text(STREAM, low - 2.4, "+", ha="center", va="center", fontsize=11, color=GUIDE,
              bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": GUIDE})


def _starts(heads: int) -> list[float]:
    """Where each channel begins within `SIDE`, with gaps between heads; and, last, how wide one is."""
    wide = (SIDE - GAP * (heads - 1)) / CHANNELS
    return [n * wide + GAP * (n * heads // CHANNELS) for n in range(CHANNELS)] + [wide]


def _each(half: Half) -> float:
    """How wide each weight that feeds units is drawn: together they take one `SIDE`."""
    return (SIDE - GAP * (len(half.fed_by) - 1)) / len(half.fed_by)


def _draw_weight(axis: Axes, left: float, middle: float, starts: list[float], *, wide: float = SIDE,
                 upright: bool = False) -> None:
    """A weight as its rows, or `upright` as its columns, of which one is the unit's; or activations, less wide."""
    bottom, thick = middle - SIDE / 2, starts[-1]
    for n, start in enumerate(starts[:-1]):
        place = (left + start, bottom) if upright else (left, bottom + SIDE - start - thick)
        size = (thick, SIDE) if upright else (wide, thick)
        axis.add_patch(Rectangle(place, *size, fc=UNIT if n == SHOWN else GUIDE, alpha=1 if n == SHOWN else 0.3,
                                 ec="white", lw=1))


def _name_parts(axis: Axes, half: Half) -> None:
    """The words above and below what is drawn."""
    above, below = half.middle + SIDE / 2 + 0.8, half.middle - SIDE / 2 - 1
    each = _each(half)
    for n, name in enumerate(half.fed_by):
        axis.text(FEEDS + n * (each + GAP) + each / 2, above, name, ha="center", va="bottom", fontsize=10)
    axis.text(WRITES + SIDE / 2, above, half.read_by, ha="center", va="bottom", fontsize=10)
    axis.text((FEEDS + SIDE + HOLDS) / 2, half.middle + 5, half.way, ha="center", va="bottom", fontsize=9)
    for place, what, words in ((FEEDS + SIDE / 2, "what feeds it", half.row), (HOLDS + THICK / 2, "its activation",
                               half.channel), (WRITES + SIDE / 2, "what it writes", half.column)):
        axis.text(place, below, what, ha="center", va="top", fontsize=10, weight="bold", color=UNIT)
        axis.text(place, below - 3.6, words, ha="center", va="top", fontsize=10, linespacing=1.05)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], *, color: str = GUIDE, lw: float = 1.3
           ) -> None:
    look_of_it = {"arrowstyle": "-|>", "color": color, "lw": lw, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=look_of_it)


# -- right: the plane ------------------------------------------------------------------------------------


def _draw_plane(axis: Axes, table: pandas.DataFrame) -> None:
    """Regions as `label_units` cuts them: SCU and UCU by the difference of both importances, RU by their sum."""
    for kind, name, needed in zip(table["kind"], table["name"], table["needed"], strict=True):
        region, mine = REGIONS[kind], look(kind)
        axis.add_patch(Polygon(region.corners, fc=mine.color, alpha=0.15, lw=0))
        axis.add_patch(Polygon(region.corners, fc="none", ec="white", lw=2.5))
        utility, safety = zip(*region.dots, strict=True)
        axis.scatter(utility, safety, s=26, color=mine.color, marker=mine.marker, lw=0)
        x, y = region.words
        axis.text(x, y, kind, ha=region.across, va="top", fontsize=11, weight="bold")
        axis.text(x, y - 0.05, f"{name}:\n{needed}", ha=region.across, va="top", fontsize=10, linespacing=1.1)
    axis.grid(False)
    axis.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], title="The four kinds of unit",
             xlabel="importance for utility →\n(where the lines lie is a choice)", ylabel="importance for safety →")

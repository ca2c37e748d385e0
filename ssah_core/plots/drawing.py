"""Draw a figure and keep it: SVG and PNG beside the JSON of its table, so that no model is needed to redraw it."""

from __future__ import annotations

import base64
import inspect
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import numpy
import pandas
import seaborn as sns
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..records import cache, paths
from .style import ARMS, FRAME, GUIDE, MEANINGS, NAMES, SHADES, STYLE

SPOKEN = 24
"""Means that a description names at most: who listens to it cannot skip."""


@dataclass(frozen=True)
class Drawn:
    """A figure that shows in a notebook, with a description for who does not see it."""

    name: str
    alt: str
    """What the picture shows, in words."""
    png: bytes
    figure: Figure

    @property
    def html(self) -> str:
        """The picture with its description."""
        words, picture = escape(self.alt), base64.b64encode(_webp(self.png)).decode("ascii")
        return f'<img alt="{words}" style="max-width: 100%" src="data:image/webp;base64,{picture}"/>'

    def _repr_html_(self) -> str:
        return self.html

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, str], dict[str, dict]]:
        """What a notebook stores: the picture with its description, once, and the description as plain text."""
        return {"text/plain": f"Figure {self.name}: {self.alt}", "text/html": self.html}, {}


def draw(name: str, plot: Callable[..., Figure], table: pandas.DataFrame, *, alt: str = "", **options) -> Drawn:
    """Draw a figure and keep it in `figures/` as SVG and PNG beside the JSON of its table and options.

    name      of the files, "05_benign"
    plot      function of `ssah_core.plots` that draws from a table alone
    table     what it draws from
    alt       what the picture shows, for who does not see it; if left out, the first sentence of `plot`'s docstring
              and, where they are few, the means that are drawn
    options   of `plot`

    Returns the figure, to be the last line of a notebook's cell.

    >>> import pandas
    >>> from ssah_core import plots
    >>> rows = pandas.DataFrame({"stage": "aligned", "step": [1, 2], "value": [2.0, 1.5], "seed": 0})
    >>> rows = pandas.concat([rows, rows.assign(stage="instructed")])
    >>> drawn = plots.draw("losses", plots.plot_losses, rows, alt="The loss falls in both stages.")
    >>> drawn.alt, len(drawn.figure.axes)
    ('The loss falls in both stages.', 2)
    """
    whole = table.astype(object).where(table.notna(), None)  # JSON knows no NaN
    data = {column: whole[column].tolist() for column in whole}
    kept = {"plot": plot.__name__, "options": options, "table": data} | ({"alt": alt} if alt else {})
    cache.write_json(paths.figures() / f"{name}.json", kept)
    return render(name, plot, table, options, alt)


def render(name: str, plot: Callable[..., Figure], table: pandas.DataFrame, options: Mapping, alt: str = "") -> Drawn:
    """Draw a figure into its SVG and PNG, whose bytes are the same from run to run. Arguments as in `draw`."""
    alt = alt or described(plot) + means_in(_as_named(table, options))
    with _styled(plot, table, options) as figure:
        _save_svg(figure, paths.figures() / f"{name}.svg", name, alt)
        drawn = Drawn(name, alt, _as_png(figure, alt), figure)
    cache.write_bytes(paths.figures() / f"{name}.png", drawn.png)
    return drawn


def sketch(name: str, plot: Callable[..., Figure], table: pandas.DataFrame, *, alt: str = "", **options) -> Drawn:
    """Draw a figure that is looked at once and kept nowhere. Arguments as in `draw`.

    >>> from ssah_core import plots
    >>> plots.sketch("units", plots.plot_unit_diagram, plots.four_kinds(), alt="What a unit is.").html[:26]
    '<img alt="What a unit is."'
    """
    alt = alt or described(plot) + means_in(_as_named(table, options))
    with _styled(plot, table, options) as figure:
        return Drawn(name, alt, _as_png(figure, alt), figure)


@contextmanager
def _styled(plot: Callable[..., Figure], table: pandas.DataFrame, options: Mapping) -> Iterator[Figure]:
    """A figure in the style of all figures, which has to be saved in it too; closed on exit."""
    with sns.axes_style("whitegrid", {"grid.color": FRAME}), plt.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tight_layout|.*constrained_layout")
        figure = plot(table, **options)
        yield figure
    plt.close(figure)  # a notebook shows what a cell returns; left open, it would be shown twice


def described(plot: Callable[..., Figure]) -> str:
    """What a plotting function's docstring says that it draws: all before the blank line or its `table`.

    plot   function with a docstring

    >>> from ssah_core import plots
    >>> described(plots.plot_losses)
    'Losses while each stage is trained.'
    """
    first = (inspect.getdoc(plot) or plot.__name__).split("\n\n")[0].split("`table`")[0]
    return " ".join(first.split())


def _as_named(table: pandas.DataFrame, options: Mapping) -> pandas.DataFrame:
    """A table with the names that its figure shows."""
    names = {**NAMES, **ARMS, **(options.get("names") or {})}
    return table.assign(**{column: table[column].map(lambda entry: names.get(entry, entry))
                           for column in table if pandas.api.types.is_string_dtype(table[column])})


def means_in(table: pandas.DataFrame) -> str:
    """A sentence with the means that a table's rows have, by the names that tell them apart; "" if they are many.

    table   of a figure: `value`, columns of names, `seed`, and perhaps one more number, of which the largest counts if
            all lines have it

    >>> import pandas
    >>> from ssah_core.plots.drawing import means_in
    >>> rows = pandas.DataFrame({"arm": ["nothing", "SCU"], "steps": 8, "value": [60.0, 24.2], "seed": 0})
    >>> means_in(rows), means_in(rows.drop(columns="value"))
    (' Means at steps 8: nothing 60; SCU 24.2.', '')
    """
    others = table.columns.drop(["value", "seed"], errors="ignore")
    named = sorted(column for column in others if pandas.api.types.is_string_dtype(table[column]))
    places = [column for column in others if column not in named]
    if not named or "value" not in table or len(places) > 1:
        return ""
    last = table[table[places[0]] == table[places[0]].max()] if places else table
    means = last.groupby(named, sort=False).value.mean()
    if len(means) < table.groupby(named).ngroups or ("seed" in table and last.seed.nunique() < table.seed.nunique()):
        return ""  # not all end at the same place
    where = f" at {places[0]} {table[places[0]].max():g}" if places else ""
    means = means.where(means.abs() >= 5e-4, 0.0)  # what rounds to nothing is no power of ten
    said = "; ".join(f"{', '.join(key) if isinstance(key, tuple) else key} {mean:.3g}" for key, mean in means.items())
    return f" Means{where}: {said}." if 0 < len(means) <= SPOKEN else ""


def _as_png(figure: Figure, alt: str) -> bytes:
    """A PNG in the colours of `style` alone: a third of the size, and a colour is the same in every figure."""
    drawn, small, words = io.BytesIO(), io.BytesIO(), PngInfo()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    words.add_itxt("Description", alt)
    few = Image.open(drawn).convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
    few.save(small, "PNG", optimize=True, pnginfo=words, dpi=(STYLE["savefig.dpi"],) * 2)
    return small.getvalue()


@lru_cache(1)
def _palette() -> Image.Image:
    """Every colour of `style`, thinned towards white as edges and faint dots are, the greys, and the shades of maps."""
    full = numpy.array([to_rgb(color) for color in dict.fromkeys(mine.color for mine in MEANINGS.values())])
    thinned = [1 - (1 - full) * strength for strength in (1, 0.8, 0.6, 0.45, 0.3, 0.15)]
    lines = numpy.array([to_rgb(GUIDE), to_rgb(FRAME)])
    greys = numpy.linspace(0, 1, 25)[:, None].repeat(3, 1)
    shades = colormaps[SHADES](numpy.linspace(0, 1, 64))[:, :3]
    image = Image.new("P", (1, 1))
    image.putpalette((255 * numpy.concatenate([*thinned, greys, lines, shades])).round().astype(int).ravel().tolist())
    return image


def _webp(png: bytes) -> bytes:
    """The same pixels in a fifth less."""
    same = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(same, "WEBP", lossless=True)
    return same.getvalue()


def _save_svg(figure: Figure, file: Path, name: str, alt: str) -> None:
    """SVG with its title and description where screen readers look for them."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Title": name})
    title = f"<title>{name}</title>"
    svg = drawn.getvalue().replace(title, f"{title}\n <desc>{escape(alt)}</desc>", 1)
    cache.write_bytes(file, svg.encode())

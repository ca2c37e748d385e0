"""Draw every figure again from its saved data: python -m ssah_core.plots"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas
from matplotlib.figure import Figure

from .. import plots
from ..records import cache, paths
from ..records.row_files import DAMAGE
from .drawing import render

NO_FIGURES = ("history", "registration")  # that lie beside them


def redraw_all() -> list[str]:
    """Draw every figure again from its JSON; returns their names."""
    files = sorted(file for file in paths.figures().glob("*.json") if file.stem not in NO_FIGURES)
    for file in files:
        render(file.stem, *_read(file))
    return [file.stem for file in files]


def _read(file: Path) -> tuple[Callable[..., Figure], pandas.DataFrame, Mapping, str]:
    """What a figure is drawn by and from. Raises ValueError for a file that names no function that draws."""
    try:
        saved = cache.read_json(file)
        if not saved["plot"].startswith("plot_"):
            raise ValueError(f"{saved['plot']!r} draws no figure")
        return (getattr(plots, saved["plot"]), pandas.DataFrame(saved["table"]), dict(saved["options"]),
                str(saved.get("alt", "")))
    except DAMAGE as error:
        raise ValueError(f"{file} is no saved figure ({error}): run its notebook again") from error


if __name__ == "__main__":
    print(f"{len(redraw_all())} figures drawn again in {paths.figures()}")

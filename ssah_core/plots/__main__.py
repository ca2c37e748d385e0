"""Draw every figure again from its saved data: python -m ssah_core.plots"""

from __future__ import annotations

import pandas

from .. import plots
from ..records import cache, paths
from .drawing import render


def redraw_all() -> list[str]:
    """Draw every figure again from its JSON; returns their names."""
    files = sorted(paths.figures().glob("*.json"))
    for file in files:
        saved = cache.read_json(file)
        render(file.stem, getattr(plots, saved["plot"]), pandas.DataFrame(saved["table"]), saved["options"],
               saved.get("alt", ""))
    return [file.stem for file in files]


if __name__ == "__main__":
    print(f"{len(redraw_all())} figures drawn again in {paths.figures()}")

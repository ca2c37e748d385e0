"""A notebook runs only where something has changed: its code, its parameters, the package, or what it wrote."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import nbformat

from ..records import cache, evidence, paths, wishes
from .run_notebook import run_notebook, without_injected


def bring_up_to_date(notebook: Path, parameters: dict[str, Any], output: Path) -> None:
    """Run a notebook, unless `output` and the figures and rows that it wrote stand as an equal run left them.

    What stands where is kept in the cache. Two processes never run the same notebook into the same folder at once.
    Raises ValueError or NotebookFailed as `run_notebook`.
    """
    with cache.locked(_stamps() / f"{notebook.stem}-{cache.key({'folder': str(output.parent)})}"):
        stamp = _stamps() / f"{notebook.stem}-{inputs(notebook, parameters)}.json"
        if _is_current(output, stamp):
            print(f"{notebook.stem}: up to date", flush=True)
            return
        print(f"{notebook.stem}: running", flush=True)
        start = time.time()
        run_notebook(notebook, parameters, output)
        if inputs(notebook, parameters) == stamp.stem.rpartition("-")[2]:  # else something was edited meanwhile
            wrote = sorted({*_written_since(start), *_wrote(stamp)})
            cache.write_json(stamp, {"result": _result(output), "wrote": wrote})
        print(f"{notebook.stem}: done in {time.time() - start:.0f} s", flush=True)


def inputs(notebook: Path, parameters: dict[str, Any]) -> str:
    """12 hex digits of all that decides what a run gives: code cells, parameters, the package's code, versions, what is
    wished for checkpoints, and the folder of figures. Never the same twice for code that was edited as it ran."""
    cells = without_injected(nbformat.read(notebook, as_version=4)).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    now = evidence.now()
    return cache.key({"sources": sources, "parameters": parameters,
                      "wishes": wishes(), "figures": str(paths.figures()),
                      **{name: now[name] for name in ("code", "python", "torch", "transformers")},
                      "edited": time.time() if now["code"] == evidence.EDITED else 0})


def _wrote(stamp: Path) -> list[str]:
    """What an equal run wrote before: a file that is there already is not written again."""
    try:
        return cache.read_json(stamp)["wrote"]
    except (FileNotFoundError, ValueError):
        return []


def _stamps() -> Path:
    return paths.cache() / "executed"


def _result(notebook: Path) -> str:
    """Changes with the code cells as they stand, outputs included; text cells may be edited without a rerun."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return cache.key({"cells": [[cell.source, cell.execution_count, cell.outputs] for cell in cells]})


def _written_since(start: float) -> list[str]:
    # One second earlier, since file times are coarser than the clock.
    files = (file for file in paths.figures().rglob("*") if file.is_file() and file.stat().st_mtime >= start - 1)
    return sorted(file.relative_to(paths.figures()).as_posix() for file in files)


def _is_current(output: Path, stamp: Path) -> bool:
    try:
        before, result = cache.read_json(stamp), _result(output)
    except (FileNotFoundError, ValueError):
        return False
    return before["result"] == result and all((paths.figures() / name).is_file() for name in before["wrote"])

"""A notebook runs only where something has changed: its code, its parameters, the package, or what it wrote."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat

from ..records import cache, evidence, paths, wishes
from ..records.row_files import DAMAGE
from .kernel import environment
from .run_notebook import run_notebook, without_injected


def bring_up_to_date(notebook: Path, parameters: dict[str, Any], output: Path) -> None:
    """Run a notebook, unless `output` and the figures and rows that it wrote stand as an equal run left them.

    What stands where is kept in the cache. Two processes never run the same notebook into the same folder at once.
    Raises ValueError or NotebookFailed as `run_notebook`.
    """
    with cache.locked(_stamps() / f"{notebook.stem}-{cache.key({'folder': str(output.parent)})}"):
        stamp = _stamps() / f"{notebook.stem}-{inputs(notebook, parameters)}.json"
        _put_back(notebook.stem)  # what a killed run set aside
        why, changed = _why_not_current(output, stamp)
        if why is None:
            print(f"{notebook.stem}: up to date", flush=True)
            return
        print(f"{notebook.stem}: running{why and f', since {why}'}", flush=True)
        start = time.monotonic()
        with _noted() as names, _set_aside(changed, notebook.stem):
            run_notebook(notebook, parameters, output)
        if inputs(notebook, parameters) == stamp.stem.rpartition("-")[2]:  # else something was edited meanwhile
            wrote = {name: _content(name) for name in names}
            cache.write_json(stamp, {"result": _result(output), "wrote": wrote})
        print(f"{notebook.stem}: done in {time.monotonic() - start:.0f} s", flush=True)


def inputs(notebook: Path, parameters: dict[str, Any]) -> str:
    """12 hex digits of all that decides what a run gives: code cells, parameters, the package's code, versions, what is
    wished for checkpoints, the folder of figures, and whether committed rows are read. Never the same twice for code
    that was edited as it ran."""
    cells = without_injected(nbformat.read(notebook, as_version=4)).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    now = evidence.now()
    return cache.key({"sources": sources, "parameters": parameters,
                      "wishes": wishes(), "figures": str(paths.figures()),
                      "records": os.environ.get("SSAH_RECORDS", ""),
                      **{name: now[name] for name in ("code", "python", "torch", "transformers")},
                      "edited": time.time() if now["code"] == evidence.EDITED else 0})


def _stamps() -> Path:
    return paths.cache() / "executed"


def _result(notebook: Path) -> str:
    """Changes with the code cells as they stand, outputs included; text cells may be edited without a rerun."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return cache.key({"cells": [[cell.source, cell.execution_count, cell.outputs] for cell in cells]})


@contextmanager
def _noted() -> Iterator[list[str]]:
    """The figures, records and files of rows that a notebook's kernel and workers write or find as they should be while
    the context lasts; names are there when it ends. They say so themselves, since others may write beside them."""
    names: list[str] = []
    with tempfile.TemporaryDirectory() as folder, environment(SSAH_STANDING=f"{folder}/standing"):
        yield names
        notes = Path(folder, "standing")
        lines = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
    figures = paths.figures().resolve()
    names += sorted({Path(line).relative_to(figures).as_posix() for line in lines
                     if Path(line).is_relative_to(figures) and Path(line).is_file()})


def _content(name: str) -> str:
    """Digest of a file below the figures, "" if it is not there; of rows without the stamp of who has verified them."""
    try:
        content = (paths.figures() / name).read_bytes()
    except FileNotFoundError:  # or another notebook is just making it anew
        return ""
    if name.startswith("measurements/"):
        with suppress(*DAMAGE):
            rows = json.loads(content)
            rows["evidence"].pop("verified", None)
            content = json.dumps(rows, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _why_not_current(output: Path, stamp: Path) -> tuple[str | None, list[str]]:
    """Why a notebook has to run: "" if no equal run is known; else what is not as that run left it; None if all is.
    And the names of the figures, records and files of rows that are others."""
    try:
        kept = cache.read_json(stamp)
        wrote = {name: digest for name, digest in dict(kept["wrote"]).items() if cache.is_inside(name)}
    except FileNotFoundError:
        return "", []
    except DAMAGE:
        return f"{stamp.name} is damaged", []
    try:
        result = _result(output)
    except DAMAGE:  # or it is not there; its rows may be others all the same
        result = ""
    missing = [name for name in wrote if not (paths.figures() / name).is_file()]
    others = [name for name in wrote if name not in missing and _content(name) != wrote[name]]
    if kept.get("result") == result and not missing + others:
        return None, []
    return f"{', '.join([*missing, *others]) or output.name} is not as it was left", others


@contextmanager
def _set_aside(names: Sequence[str], stem: str) -> Iterator[None]:
    """Files below the figures out of the way of a notebook's run, which makes them anew, and would read rows that lie
    there as its own. If it fails, they are as they were."""
    files = [paths.figures() / name for name in names]
    asides = [file.with_name(f".{file.name}.{stem}.aside") for file in files]
    try:
        for file, aside in zip(files, asides, strict=True):
            with suppress(FileNotFoundError):  # another notebook, which has it too, is just making it anew
                file.replace(aside)
        yield
    except BaseException:
        _put_back(stem)
        raise
    for aside in asides:
        aside.unlink(missing_ok=True)


def _put_back(stem: str) -> None:
    """Put what a run of a notebook set aside, and did not make anew to its end, back in its place."""
    end = f".{stem}.aside"
    for aside in [file for file in paths.figures().rglob(".*.aside") if file.name.endswith(end)]:
        aside.replace(aside.with_name(aside.name[1:-len(end)]))

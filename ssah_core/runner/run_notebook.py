"""Run one notebook: the result is whole or not there, and holds nothing that differs from run to run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from ..records import paths
from .parameters import assigned_values, check_parameters, is_tagged, read_parameters, tagged

# Committed records are not read, and no progress bar ends up in an output.
KERNEL_ENVIRONMENT = {"SSAH_RECORDS": "ignore", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class NotebookFailed(RuntimeError):
    """A notebook stopped at an error; the message names the notebook, the cell and the error."""


def run_notebook(notebook: Path, parameters: dict[str, Any], output: Path) -> None:
    """Run a notebook from top to bottom in its own folder, and put the result at `output` (may be `notebook`).

    parameters  Overrides of the notebook's defaults; one that equals its default is not injected.

    Committed records are not read. `output` is replaced only by a complete run.
    Raises ValueError for a wrong parameter, NotebookFailed for a cell that fails.
    """
    known = read_parameters(notebook)
    given = check_parameters(notebook, parameters)
    changed = {name: value for name, value in given.items() if value != known[name].default}
    partial = output.with_name(f".{output.stem}.partial.ipynb")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        # papermill leaves an injected cell of an earlier run in place, and would run it, when nothing is injected now.
        nbformat.write(without_injected(nbformat.read(notebook, as_version=4)), partial)
        _execute(notebook, changed, partial)
        nbformat.write(strip_noise(nbformat.read(partial, as_version=4)), partial)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _execute(notebook: Path, parameters: dict[str, Any], partial: Path) -> None:
    log = paths.cache() / "executed" / f"{notebook.stem}.log"
    try:
        with environment(**KERNEL_ENVIRONMENT):
            os.environ.pop("MPLBACKEND", None)  # would keep figures from showing inline
            papermill.execute_notebook(partial, partial, parameters, kernel_name="python3", language="python",
                                       cwd=notebook.resolve().parent, kernel_manager_class=_manager(log))
    except PapermillExecutionError as error:
        code, reason = (text.strip().splitlines()[0] for text in (error.source, f"{error.ename}: {error.evalue}"))
        raise NotebookFailed(f"{notebook.name}, cell [{error.exec_count}] ({code}): {reason}") from None
    except DeadKernelError:
        raise NotebookFailed(f"{notebook.name}: its kernel died, most often for want of memory; see {log}") from None


def _manager(log: Path) -> type[AsyncKernelManager]:
    """Starts kernels whose own messages go to a file, not across the progress bar."""
    class Manager(AsyncKernelManager):
        async def start_kernel(self, **options: Any) -> None:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w") as stderr:
                await super().start_kernel(stderr=stderr, **options)

    return Manager


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Environment variables as the kernel shall inherit them; put back on exit."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def strip_noise(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from run to run: papermill's and the widgets' metadata, timings, the
    Python version, and an injected cell that only repeats the defaults. Outputs and counts stay."""
    for name in ("papermill", "widgets"):
        nb.metadata.pop(name, None)
    nb.metadata.get("language_info", {}).pop("version", None)
    defaults = assigned_values(tagged(nb, "parameters"))
    nb.cells = [cell for cell in nb.cells if not _repeats(cell, defaults)]
    for cell in nb.cells:
        _strip_cell(cell)
    return nb


def _strip_cell(cell: nbformat.NotebookNode) -> None:
    for name in ("papermill", "execution"):
        cell.metadata.pop(name, None)
    if not cell.metadata.get("tags", True):
        del cell.metadata["tags"]
    if is_tagged(cell, "injected-parameters") and "id" in cell:  # papermill's own is a new one every time
        cell.id = "injected-parameters"


def _repeats(cell: nbformat.NotebookNode, defaults: dict[str, Any]) -> bool:
    if not is_tagged(cell, "injected-parameters"):
        return False
    try:
        return {**defaults, **assigned_values([cell])} == defaults
    except ValueError:  # a value such as float('nan') is no literal, and no default either
        return False


def without_injected(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without the cell of parameters that an earlier run injected."""
    nb.cells = [cell for cell in nb.cells if not is_tagged(cell, "injected-parameters")]
    return nb

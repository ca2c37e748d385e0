"""Run the numbered notebooks in place: python -m ssah_core.execute [--seeds N] [--scale S] [--notebooks 00 03] [-p n 5]

First the organisms are raised, then every notebook that is not up to date runs, then the report is written.
Stopped runs go on where they stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from . import paths, store
from .parameters import assigned_values, check_parameters, is_tagged, parse_parameters, read_parameters, tagged

SCALES = ("tiny", "organism", "paper")
# Committed records are not read, and no progress bar ends up in an output.
KERNEL_ENVIRONMENT = {"SSAH_RECORDS": "ignore", "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class NotebookFailed(RuntimeError):
    """A notebook stopped at an error; the message names the notebook, the cell and the error."""


# --- running a notebook ---


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
        nbformat.write(_without_injected(notebook), partial)
        _execute(notebook, changed, partial)
        nbformat.write(strip_noise(nbformat.read(partial, as_version=4)), partial)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


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


def _without_injected(notebook: Path) -> nbformat.NotebookNode:
    # papermill leaves an injected cell of an earlier run in place, and would run it, when nothing is injected now.
    nb = nbformat.read(notebook, as_version=4)
    nb.cells = [cell for cell in nb.cells if not is_tagged(cell, "injected-parameters")]
    return nb


def _execute(notebook: Path, parameters: dict[str, Any], partial: Path) -> None:
    log = paths.cache() / "executed" / f"{notebook.stem}.log"
    try:
        with _kernel_environment():
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
def _kernel_environment() -> Iterator[None]:
    """Environment variables as the kernel shall inherit them; put back on exit."""
    before = dict(os.environ)
    os.environ.update(KERNEL_ENVIRONMENT)
    os.environ.pop("MPLBACKEND", None)  # would keep figures from showing inline
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# --- running all of them ---


def common_parameters(notebook: Path, seeds: list[int], scale: str) -> dict[str, Any]:
    """`seeds` and `scale`, as far as the notebook has parameters of these names."""
    known = read_parameters(notebook)
    return {name: value for name, value in {"seeds": seeds, "scale": scale}.items() if name in known}


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 1 a notebook failed, 2 wrong arguments, 130 stopped."""
    options = _options(argv)
    try:
        plan = {notebook: _parameters(notebook, options) for notebook in _select(options.notebooks)}
    except ValueError as error:
        return _stop(f"error: {error}", 2)
    try:
        _carry_out(plan, options)
    except NotebookFailed as error:
        return _stop(f"failed: {error}", 1)
    except KeyboardInterrupt:
        return _stop("stopped; run again to go on", 130)
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ssah_core.execute", description=__doc__)
    parser.add_argument("--seeds", type=_count, default=1, metavar="N", help="how many organisms: seeds 0 to N-1")
    parser.add_argument("--scale", choices=SCALES, default="organism")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NN", help="only these, such as 00 03")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters",
                        help="a parameter of the chosen notebooks; may be repeated")
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"N is {text!r}, but it must be a whole number, 1 or more")
    return int(text)


def _select(numbers: list[str]) -> list[Path]:
    notebooks = {notebook.name[:2]: notebook for notebook in sorted(paths.notebooks().glob("[0-9][0-9]_*.ipynb"))}
    for number in numbers:
        if number not in notebooks:
            raise ValueError(f"--notebooks has {number!r}, but the notebooks are {', '.join(notebooks) or 'none'}; "
                             "give their numbers, such as 00 03")
    return [notebook for number, notebook in notebooks.items() if number in numbers or not numbers]


def _parameters(notebook: Path, options: argparse.Namespace) -> dict[str, Any]:
    common = common_parameters(notebook, list(range(options.seeds)), options.scale)
    return check_parameters(notebook, common) | parse_parameters(notebook, dict(options.parameters))


def _carry_out(plan: dict[Path, dict[str, Any]], options: argparse.Namespace) -> None:
    if options.scale != "paper":  # there, a checkpoint takes the organism's place
        from .organism import raise_organism

        for seed in range(options.seeds):
            raise_organism(seed, options.scale)
    for notebook, parameters in plan.items():
        with store.locked(paths.cache() / "executed" / notebook.stem):
            _bring_up_to_date(notebook, parameters)
    from . import report

    report.main([])


def _bring_up_to_date(notebook: Path, parameters: dict[str, Any]) -> None:
    stamp = paths.cache() / "executed" / f"{notebook.stem}-{_inputs(notebook, parameters)}.json"
    if _is_current(notebook, stamp):
        print(f"{notebook.stem}: up to date", flush=True)
        return
    print(f"{notebook.stem}: running", flush=True)
    start = time.time()
    run_notebook(notebook, parameters, notebook)
    store.write_json(stamp, {"result": _result(notebook), "wrote": _written_since(start)})
    print(f"{notebook.stem}: done in {time.time() - start:.0f} s", flush=True)


def _inputs(notebook: Path, parameters: dict[str, Any]) -> str:
    sources = [cell.source for cell in _without_injected(notebook).cells if cell.cell_type == "code"]
    return store.key({"sources": sources, "parameters": parameters, "code": store.whole_code_version(),
                      "figures": str(paths.figures())})


def _result(notebook: Path) -> str:
    """Changes with the code cells as they stand, outputs included; text cells may be edited without a rerun."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    return store.key({"cells": [[cell.source, cell.execution_count, cell.outputs] for cell in cells]})


def _written_since(start: float) -> list[str]:
    # One second earlier, since file times are coarser than the clock.
    files = (file for file in paths.figures().rglob("*") if file.is_file() and file.stat().st_mtime >= start - 1)
    return sorted(file.relative_to(paths.figures()).as_posix() for file in files)


def _is_current(notebook: Path, stamp: Path) -> bool:
    try:
        before = store.read_json(stamp)
    except (FileNotFoundError, ValueError):
        return False
    return before["result"] == _result(notebook) and all((paths.figures() / name).is_file() for name in before["wrote"])


def _stop(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

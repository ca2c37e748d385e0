"""Run the numbered notebooks in place: python -m ssah_core.runner.execute [--seeds N] [--scale S] [--notebooks 00 03] [-p n 5]

First the organisms are raised, then every notebook that is not up to date runs, then the report is written.
On a checkpoint, --scale paper -p model M, no organism is raised, and what was committed stays: notebooks, figures and
records of the run go to a folder of its own, runs/M. Stopped runs go on where they stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat

from ..organism import raise_organism
from ..records import SCALES, cache, paths, report, slug
from .parameters import check_parameters, parse_parameters, read_parameters
from .run_notebook import NotebookFailed, environment, run_notebook, without_injected

COMMON = ("seeds", "scale", "model", "unaligned")
"""Parameters that most notebooks have: those that lack one are run without it."""
CHECKPOINTS = ("model", "unaligned")


def common_parameters(notebook: Path, seeds: list[int], scale: str) -> dict[str, Any]:
    """`seeds` and `scale`, as far as the notebook has parameters of these names."""
    known = read_parameters(notebook)
    return {name: value for name, value in {"seeds": seeds, "scale": scale}.items() if name in known}


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 1 a notebook failed, 2 wrong arguments, 130 stopped."""
    options = _options(argv)
    try:
        _check_checkpoint(options)
        plan = _plan(_select(options.notebooks), options)
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
    parser = argparse.ArgumentParser(prog="python -m ssah_core.runner.execute", description=__doc__)
    parser.add_argument("--seeds", type=_count, default=1, metavar="N", help="how many organisms: seeds 0 to N-1")
    parser.add_argument("--scale", choices=SCALES, default="organism")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NN", help="only these, such as 00 03")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters",
                        help="a parameter of the chosen notebooks; may be repeated")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="of a run on a checkpoint, from the repository on; default runs/M")
    options = parser.parse_args(argv)
    options.parameters = {name: _from_here(name, value) for name, value in options.parameters}
    return options


def _from_here(name: str, value: str) -> str:
    """A checkpoint's folder in full: the kernel works in another folder than the command line."""
    return str(Path(value).resolve()) if name in CHECKPOINTS and value and Path(value).is_dir() else value


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


def _check_checkpoint(options: argparse.Namespace) -> None:
    given, is_paper = options.parameters, options.scale == "paper"
    scale = given.get("scale", options.scale)
    if scale != options.scale and "paper" in (scale, options.scale):
        raise ValueError(f"-p scale is {scale!r}, but --scale is {options.scale!r}: set it by --scale alone")
    if is_paper and not given.get("model"):
        raise ValueError("--scale paper is that of a checkpoint, and none is named: add -p model and its folder or hub "
                         "id, such as Qwen/Qwen2.5-7B-Instruct")
    for name in CHECKPOINTS:
        if given.get(name) and not is_paper:
            raise ValueError(f"-p {name} is {given[name]!r}, but --scale {options.scale} takes no checkpoint: add "
                             "--scale paper")
    if options.output and not is_paper:
        raise ValueError(f"--output is {str(options.output)!r}, but notebooks run in place at --scale {options.scale}: "
                         "leave it out, or add --scale paper")


def _plan(notebooks: list[Path], options: argparse.Namespace) -> dict[Path, dict[str, Any]]:
    """Parameters by notebook. One of `COMMON` may be missing from some of them, but not from all."""
    known = {notebook: set(read_parameters(notebook)) for notebook in notebooks}
    optional = set(COMMON) & set().union(*known.values())
    return {notebook: _parameters(notebook, options, optional - known[notebook]) for notebook in notebooks}


def _parameters(notebook: Path, options: argparse.Namespace, passed_over: set[str]) -> dict[str, Any]:
    common = common_parameters(notebook, list(range(options.seeds)), options.scale)
    given = {name: text for name, text in options.parameters.items() if name not in passed_over}
    return check_parameters(notebook, common) | parse_parameters(notebook, given)


def _carry_out(plan: dict[Path, dict[str, Any]], options: argparse.Namespace) -> None:
    if options.scale == "paper":  # a checkpoint takes the organism's place
        folder = options.output or Path("runs", slug(options.parameters["model"]))
        return _run_on_checkpoint(plan, paths.root() / folder.expanduser())
    for seed in range(options.seeds):
        raise_organism(seed, options.scale)
    for notebook, parameters in plan.items():
        _bring_up_to_date(notebook, parameters, notebook)
    report.main([])


def _run_on_checkpoint(plan: dict[Path, dict[str, Any]], folder: Path) -> None:
    """One that fails, of ten that take hours, does not keep the others from running; the first failure is raised then."""
    failures = []
    with environment(SSAH_FIGURES=os.environ.get("SSAH_FIGURES") or str(folder / "figures")):
        for notebook, parameters in plan.items():
            try:
                _bring_up_to_date(notebook, parameters, folder / notebook.name)
            except NotebookFailed as error:
                print(f"{notebook.stem}: failed, others go on", flush=True)
                failures.append(error)
        print(f"notebooks are in {folder}, figures and records in {paths.figures()}", flush=True)
    if failures:
        raise failures[0]


def _bring_up_to_date(notebook: Path, parameters: dict[str, Any], output: Path) -> None:
    with cache.locked(paths.cache() / "executed" / f"{notebook.stem}-{slug(str(output.parent))}"):
        stamp = paths.cache() / "executed" / f"{notebook.stem}-{_inputs(notebook, parameters)}.json"
        if _is_current(output, stamp):
            print(f"{notebook.stem}: up to date", flush=True)
            return
        print(f"{notebook.stem}: running", flush=True)
        start = time.time()
        run_notebook(notebook, parameters, output)
        cache.write_json(stamp, {"result": _result(output), "wrote": _written_since(start)})
        print(f"{notebook.stem}: done in {time.time() - start:.0f} s", flush=True)


def _inputs(notebook: Path, parameters: dict[str, Any]) -> str:
    cells = without_injected(nbformat.read(notebook, as_version=4)).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    return cache.key({"sources": sources, "parameters": parameters, "code": cache.whole_code_version(),
                      "figures": str(paths.figures())})


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


def _stop(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())

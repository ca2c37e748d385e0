"""Run the numbered notebooks headlessly: python -m ssah_core.runner.execute [--seeds N] [--scale S] [--notebooks 00 03]

First the organisms are raised, then every notebook that is not up to date runs, then the report is written. All goes
to a folder of its own, runs/<scale>-<N> or --output FOLDER: notebooks, figures, records, rows and report. What is
committed stays as it is, unless --publish asks to renew it. On a checkpoint, --scale paper -p model M, no organism is
raised, and the folder is runs/M; at --scale smollm, SmolLM2 is fetched and aligned instead. Stopped runs go on where
they stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from .. import arithmetic
from ..arguments import Parser
from ..organism import is_raised, raise_organism
from ..records import findings, is_checkpoint, load_records, paths, report, slug
from ..records.executors import local_executor, local_workers, map_runs
from ..records.registration import TEST
from ..smollm import NAME as SMOLLM
from ..smollm import check_ready, checkpoints_of
from .beside import run_beside
from .kernel import environment
from .parameters import check_parameters, parse_parameters, read_parameters
from .places import check_place, mark
from .run_notebook import NotebookFailed
from .stopping import no_room, silence_tasks, stoppable
from .up_to_date import bring_up_to_date

COMMON = ("seeds", "few", "fewer", "orders", "scale", "model", "unaligned")
"""Parameters that most notebooks have: those that lack one are run without it."""
CHECKPOINTS = ("model", "unaligned")
SCALES = ("tiny", "organism", "smollm", "paper")
"""Of all scales, those at which every notebook runs."""
PUBLISHED = "organism"
"""The scale of what is committed."""
STOPPED = "stopped: the same command goes on from here; finished notebooks and measurements are kept"

Plan = dict[Path, dict[str, Any]]


def common_parameters(notebook: Path, seeds: list[int], scale: str) -> dict[str, Any]:
    """`seeds`, `scale` and one of `orders`, as far as the notebook has parameters of these names.

    What is secondary is read of the `few` organisms whose rows are committed, and what takes longest of `fewer`; where
    there are none, of `seeds`.
    """
    known, common = read_parameters(notebook), {"seeds": seeds, "orders": 1, "scale": scale}
    common |= {} if scale == PUBLISHED else {"few": seeds, "fewer": seeds}
    return {name: value for name, value in common.items() if name in known}


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, 1 a notebook failed or no file can be written, 2 wrong arguments,
    130 stopped, 143 stopped by SIGTERM."""
    options = _options(argv)
    try:
        _check(options)
        plan = _plan(_select(options.notebooks), options)
        with stoppable():
            failures = _carry_out(plan, options)
    except ValueError as error:
        return _stop(f"error: {error}", 2)
    except KeyboardInterrupt as stop:
        silence_tasks()
        return _stop(STOPPED, getattr(stop, "code", 130))
    except Exception as error:
        if told := no_room(error):
            return _stop(f"error: {told}", 1)
        raise
    for failure in failures:
        _stop(f"failed: {failure}", 1)
    return int(bool(failures))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m ssah_core.runner.execute", description=__doc__)
    parser.add_argument("--seeds", type=_count, metavar="N",
                        help="how many organisms: seeds 0 to N-1 (default 1); --publish takes those of notebooks")
    parser.add_argument("--scale", choices=SCALES, default="organism")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NN", help="only these, such as 00 03")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters",
                        help="a parameter of the chosen notebooks; may be repeated")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="where all goes, from the repository on; default runs/<scale>-<N>, on a checkpoint runs/M")
    parser.add_argument("--publish", action="store_true", help="run in place: renew what is committed")
    options = parser.parse_args(argv)
    options.parameters = {name: _from_here(name, value) for name, value in options.parameters}
    if options.publish and options.seeds:
        parser.error(f"--seeds is {options.seeds}, but --publish measures the organisms that the notebooks name: leave "
                     "--seeds out")
    options.seeds = options.seeds or 1
    if options.scale == "smollm":
        options.parameters.setdefault("model", SMOLLM)
    return options


def _from_here(name: str, value: str) -> str:
    """A checkpoint's folder in full: the kernel works in another folder than the command line."""
    if name not in CHECKPOINTS or not value:
        return value
    folder = Path(os.path.expanduser(value))
    return str(folder.resolve()) if folder.is_dir() else value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"N is {text!r}, but it must be a whole number, 1 or more")
    return int(text)


def _check(options: argparse.Namespace) -> None:
    given = options.parameters
    scale = given.get("scale", options.scale)
    if scale != options.scale:
        raise ValueError(f"-p scale is {scale!r}, but --scale is {options.scale!r}: set it by --scale alone")
    if "seeds" in given:
        raise ValueError(f"-p seeds is {given['seeds']!r}: say how many organisms by --seeds N, "
                         "which raises seeds 0 to N-1")
    _check_model(options.scale, given)
    if options.publish and options.scale != PUBLISHED:
        raise ValueError(f"--scale is {options.scale!r}, but --publish renews what is committed, which is of scale "
                         f"{PUBLISHED!r}: leave --publish out")
    named = os.environ.get("SSAH_FIGURES")
    if options.publish and named:
        raise ValueError(f"SSAH_FIGURES is {named!r}, but --publish renews what is committed: unset it")
    if options.output and _place(options.output).is_file():
        raise ValueError(f"--output is {str(options.output)!r}, which is a file: name a folder")
    if options.publish and options.output:
        raise ValueError(f"--output is {str(options.output)!r}, but --publish runs in place: leave one of them out")
    if not options.publish:
        check_place(_folder(options))
        if named and paths.figures().resolve().is_relative_to(paths.committed().resolve()):
            raise ValueError(f"SSAH_FIGURES is {named!r}, where a run would write over what is committed: unset it")


def _check_model(scale: str, given: dict[str, str]) -> None:
    if scale == "paper" and not given.get("model"):
        raise ValueError("--scale paper is that of a checkpoint, and none is named: add -p model and its folder or hub "
                         "id, such as Qwen/Qwen2.5-7B-Instruct")
    if scale == "smollm":
        checkpoints_of(given["model"])
    for name in CHECKPOINTS if not is_checkpoint(scale) else CHECKPOINTS[1:] if scale == "smollm" else ():
        if given.get(name):
            raise ValueError(f"-p {name} is {given[name]!r}, but --scale {scale} takes no checkpoint: add "
                             "--scale paper")


def _select(numbers: list[str]) -> list[Path]:
    notebooks = {notebook.name[:2]: notebook for notebook in sorted(paths.notebooks().glob("[0-9][0-9]_*.ipynb"))}
    for number in numbers:
        if number not in notebooks:
            raise ValueError(f"--notebooks has {number!r}, but the notebooks are {', '.join(notebooks) or 'none'}; "
                             "give their numbers, such as 00 03")
    return [notebook for number, notebook in notebooks.items() if number in numbers or not numbers]


def _plan(notebooks: list[Path], options: argparse.Namespace) -> Plan:
    """Parameters by notebook. One of `COMMON` may be missing from some of them, but not from all."""
    known = {notebook: set(read_parameters(notebook)) for notebook in notebooks}
    optional = set(COMMON) & set().union(*known.values())
    return {notebook: _parameters(notebook, options, optional - known[notebook]) for notebook in notebooks}


def _parameters(notebook: Path, options: argparse.Namespace, passed_over: set[str]) -> dict[str, Any]:
    common = {} if options.publish else common_parameters(notebook, list(range(options.seeds)), options.scale)
    given = {name: text for name, text in options.parameters.items() if name not in passed_over}
    return check_parameters(notebook, common) | parse_parameters(notebook, given)


def _carry_out(plan: Plan, options: argparse.Namespace) -> list[NotebookFailed]:
    """Raise organisms, run notebooks, write the report, say what was found; returns what failed."""
    folder = _folder(options)
    if not options.publish:
        mark(folder)
    figures = paths.committed() if options.publish else folder / "figures"
    is_apart = not options.publish and options.scale == PUBLISHED and options.seeds <= min(TEST)
    records = os.environ.get("SSAH_RECORDS") or ("" if is_apart else "ignore")  # "": rows of others, such as `few`
    with environment(SSAH_FIGURES=os.environ.get("SSAH_FIGURES") or str(figures), SSAH_RECORDS=records):
        if options.scale == "smollm":
            check_ready([notebook.name[:2] for notebook in plan], _seeds(plan), options.parameters["model"])
        elif not is_checkpoint(options.scale):  # which takes the organism's place
            _raise(_seeds(plan), options.scale)
        jobs = 1 if is_checkpoint(options.scale) else local_workers(len(plan))  # which may need all memory
        failures = run_beside(plan, folder, jobs) if jobs > 1 else _run_each(plan, folder)
        if options.publish and not failures:
            report.main([])
        if not options.publish:
            _conclude(folder, options)
    return failures


def _seeds(plan: Plan) -> list[int]:
    """All organisms that the notebooks of a plan ask for."""
    asked = [parameters.get("seeds") or known["seeds"].default for notebook, parameters in plan.items()
             if "seeds" in (known := read_parameters(notebook))]
    return sorted(set().union(*asked))


def _raise(seeds: list[int], scale: str) -> None:
    """Raise organisms, or find them raised; several beside each other."""
    missing = [seed for seed in seeds if not is_raised(seed, scale)]
    if local_workers(len(missing) or 1) > 1:
        with local_executor(len(missing)) as pool:
            map_runs(raise_organism, [(seed, scale, False) for seed in missing], pool, "organisms")
    else:
        for seed in missing:
            raise_organism(seed, scale)


def _folder(options: argparse.Namespace) -> Path:
    """Where the notebooks of the run go."""
    if options.publish:
        return paths.notebooks()
    name = slug(options.parameters["model"]) if options.scale == "paper" else f"{options.scale}-{options.seeds}"
    return _place(options.output or Path("runs", name))


def _place(folder: Path) -> Path:
    return paths.root() / folder.expanduser()


def _run_each(plan: Plan, folder: Path) -> list[NotebookFailed]:
    """One that fails, of ten that take hours, does not keep the others from running."""
    failures = []
    for notebook, parameters in plan.items():
        try:
            bring_up_to_date(notebook, parameters, folder / notebook.name)
        except NotebookFailed as error:
            if no_room(error):
                raise
            print(f"{notebook.stem}: failed, others go on", flush=True)
            failures.append(error)
    return failures


def _conclude(folder: Path, options: argparse.Namespace) -> None:
    """Write the report of a run; its last words on the screen are what was found, and where all lies."""
    found = findings.describe(load_records(), load_records(paths.committed() / "records"), scale=options.scale,
                              model=options.parameters["model"] if is_checkpoint(options.scale) else "organism")
    file = report.write_run(folder, found)
    print("", *found, f"Notebooks are in {folder}, figures and records in {paths.figures()}.",
          f"What the paper claims beside this run: {file}", sep="\n", flush=True)


def _stop(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


def _begin_again_if_not_portable(scale: str) -> None:
    """Organisms are raised in the portable arithmetic mode, which torch read when it was loaded: begin anew in it."""
    if not is_checkpoint(scale) and arithmetic.mode() != "portable":
        os.environ.update(arithmetic.PORTABLE)
        os.execv(sys.executable, [sys.executable, "-m", "ssah_core.runner.execute", *sys.argv[1:]])


if __name__ == "__main__":
    _begin_again_if_not_portable(_options(None).scale)
    sys.exit(main())

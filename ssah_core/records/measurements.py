"""Measurements: every row that one study measured on one organism, measured once and kept.

They are JSON in `figures/measurements`, committed, so that a notebook opens quickly and a figure can be redrawn
without a model. A file has four parts: the *identity* of what was measured (study, version, seed, scale, settings),
what it *rests on* (digests of prompts, judges, recipes), the *rows*, and beside them the *evidence* of how they came
about. The first two decide whether the rows answer a question; code and versions decide nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import arithmetic
from ..arguments import check_filled, check_seed, shown
from . import cache, evidence, paths
from .content import noting
from .executors import local_workers, map_runs
from .row_files import FORMAT, check_ours, check_rows, read_rows, rows_there
from .study import Study, check_settings, study_of
from .wishes import wishes

if TYPE_CHECKING:
    import pandas

SCALES = ("tiny", "small", "organism", "large", "smollm", "paper")
CHECKPOINTS = ("smollm", "paper")
"""Of these, those at which a checkpoint takes the organism's place: one that a CPU can hold, and one that is named."""


@dataclass(frozen=True)
class Run:
    """One study on one organism or checkpoint, and what it is told."""

    function: Callable[..., list[dict]]
    seed: int
    scale: str
    variant: str
    settings: Mapping[str, Any]

    @property
    def study(self) -> Study:
        return study_of(self.function)

    @property
    def name(self) -> str:
        """The study's, with the variant behind it: a folder of its own below `figures/measurements`."""
        return f"{self.study.name}/{self.variant}" if self.variant else self.study.name

    @property
    def identity(self) -> dict[str, Any]:
        """What decides which question the rows answer, as plain JSON."""
        wished = wishes() if self.settings.get("checkpoints") else {}
        return cache.plain({"study": self.name, "version": self.study.version, "seed": self.seed, "scale": self.scale,
                            "settings": {**self.settings, **wished}})

    @property
    def file(self) -> Path:
        """Where its rows are kept; a checkpoint's file has the name of the aligned one behind the scale."""
        checkpoints = self.settings.get("checkpoints")
        if checkpoints and "aligned" not in checkpoints:
            raise ValueError(f"checkpoints is {dict(checkpoints)}, but the one that is measured is 'aligned': name it")
        name = f".{slug(checkpoints['aligned'])}" if checkpoints else ""
        return paths.figures() / "measurements" / self.name / f"{self.scale}{name}-seed{self.seed}.json"

    @property
    def committed(self) -> Path:
        """Where the repository has its rows, if it has any: a run of one's own may read them."""
        return paths.committed() / self.file.relative_to(paths.figures())

    def compute(self) -> list[dict]:
        return self.function(self.seed, self.scale, **self.settings)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        """Digests of the content of these names as it is now."""
        return {name: self.study.content(name, self.seed, self.scale, self.settings.get("checkpoints"))
                for name in sorted(names)}

    def why_stale(self, kept: Mapping[str, Any]) -> str:
        """Why kept rows do not answer this run's question: "" if they do, else what has changed."""
        if kept["identity"] != self.identity:
            changed = [name for name in self.identity if kept["identity"].get(name) != self.identity[name]]
            return f"other {' and '.join(changed)}" if changed else "it has other parts"
        today = self.digests(kept["rests_on"])
        changed = [name for name, digest in kept["rests_on"].items() if today[name] != digest]
        return f"{' and '.join(changed)} changed since" if changed else ""


def measure_each(function: Callable[..., list[dict]], seeds: Sequence[int], scale: str,
                 each: Mapping[int, Mapping] | None = None, over: Mapping[str, Mapping] | None = None,
                 executor: Executor | None = None, **settings: Any) -> pandas.DataFrame:
    """Measure a study on every organism, or read its rows where they are kept: those of all seeds, one below another.

    function  A study of an importable module (`ssah_core.records.study` makes one): takes seed, scale and settings,
              returns rows, each with at least `metric` (text) and `value` (a finite number). Runs are measured beside
              each other, a process a core (the environment variable SSAH_WORKERS sets another number); on checkpoints
              one after another, unless SSAH_WORKERS is set, since each may need a whole GPU.
    seeds     Of the organisms.
    scale     One of `SCALES`.
    each      Further settings of one organism: seed -> settings.
    over      Variants, each with a file of its own: name -> settings; "chosen" becomes "<study>/chosen".
    executor  Where runs that have no rows yet are measured, see `ssah_core.records.executors`; default this machine.
    settings  All that decides the numbers, as JSON types; `checkpoints`, by stage ("aligned", "instructed"), where no
              organism is measured but a checkpoint.

    Rows come from `figures/measurements/<study>/<scale>-seed<seed>.json`, of the run or of the repository (unless the
    environment variable SSAH_RECORDS is "ignore"), else from the cache, else they are measured; what was found stands
    in the run's file afterwards. Rows that
    are there but answer another question are measured anew, and it is said why. Raises ValueError for rows that are
    empty or lack a finite value, and then writes nothing; and for kept rows of a later version of the study.

    >>> from ssah_core.studies import stages
    >>> ssah.measure_each(stages.losses, [0], "tiny").metric.unique().tolist()
    ['loss']

    *Shown in:* 01_raise_an_organism.
    """
    import pandas  # here, since it takes a second to import

    check_scale(scale)
    study_of(function)
    check_filled("pass at least one seed", seeds=seeds)
    check_seed(**{f"seeds[{n}]": seed for n, seed in enumerate(seeds)})
    _check_more(seeds, each, over, executor)
    variants = over or {"": {}}
    runs = [Run(function, seed, scale, variant, {**settings, **more, **(each or {}).get(seed, {})})
            for variant, more in variants.items() for seed in seeds]
    for run in runs:
        check_settings(function, run.settings)
    _measure_beside([run for run in runs if kept_rows(run) is None], executor)
    return pandas.concat([pandas.DataFrame(measured(run)["rows"]) for run in runs], ignore_index=True)


def _check_more(seeds: Sequence[int], each: Any, over: Any, executor: Any) -> None:
    for name, more in {"each": each, "over": over}.items():
        if more is not None and not (isinstance(more, Mapping) and all(isinstance(s, Mapping) for s in more.values())):
            raise ValueError(f"{name} is {shown(more)}: pass a mapping to further settings, each by its name")
    if set(each or ()) - set(seeds):
        raise ValueError(f"each is {shown(each)}, but seeds are {shown(list(seeds))}: pass settings of these")
    if not all(isinstance(name, str) and re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name) for name in over or ()):
        raise ValueError(f"over is {shown(over)}: name variants by letters, digits, '-', '_' and '.'")
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise ValueError(f"executor is {shown(executor)}: pass one with `submit`, see ssah_core.records.executors")


def kept_rows(run: Run, tell: bool = True) -> dict | None:
    """What is kept of a run, in its file, the committed one or the cache, if it answers its question; else None.

    tell   Print why a file does not.

    Raises ValueError if a file is of a later version of the study than this code's.
    """
    for file in () if _is_ignoring() else dict.fromkeys((run.file, run.committed)):
        if kept := _current(run, file, tell):
            return kept
    folder = cache.place("studies", run.identity)
    return _cached(run, folder) if cache.is_complete(folder) else None


def measured(run: Run) -> dict:
    """The rows of a run with their identity and evidence: kept ones, else measured; written to its file if need be.

    It tells nothing of rows that went stale: who asks for several runs looks for `kept_rows` first.
    """
    check_ours(run.file)
    kept = kept_rows(run, tell=False)
    if kept is None:
        is_current = lambda folder: _cached(run, folder) is not None  # noqa: E731
        folder = cache.artefact("studies", run.identity, lambda folder: _compute(folder, run), is_current)
        kept = cache.read_json(folder / "rows.json")
    there = read_rows(run.file)
    if there is None or there["rows"] != kept["rows"] or run.why_stale(there):
        cache.write_json(run.file, kept)
    else:
        cache.note_standing(run.file)
    return kept


def read_evidence() -> list[dict[str, Any]]:
    """The evidence of every file of rows below `figures/measurements` that can be verified, with its `file`: without
    scale "tiny", which proves no number, and without times.

    Raises ValueError if a file is damaged or of another format.
    """
    found, folder = [], paths.figures() / "measurements"
    for file in sorted(folder.rglob("*.json")):
        if not file.name.startswith("tiny-"):
            rows = rows_there(file)
            about = evidence.unstamped(rows["evidence"], rows["rows"])
            found.append({**about, "file": file.relative_to(folder).as_posix()})
    return [about for about in found if not about.get("clock")]


def files_of(seeds: Sequence[int], scale: str = "organism") -> list[Path]:
    """Files of rows of these seeds, of any study.

    >>> files_of([10**6])
    []
    """
    folder = paths.figures() / "measurements"
    return sorted(file for seed in seeds for file in folder.rglob(f"{scale}-seed{seed}.json"))


def _current(run: Run, file: Path, tell: bool = False) -> dict | None:
    """What a file holds, if it answers the run's question."""
    kept = read_rows(file)
    if kept is None:
        if tell and file.is_file():
            print(f"{file} is damaged: rows of {run.name}, seed {run.seed}, are looked for elsewhere", flush=True)
        return None
    if kept["identity"]["version"] > run.study.version:
        raise ValueError(f"{file} holds rows of version {kept['identity']['version']} of the study "
                         f"{run.study.name!r}, but this code measures version {run.study.version}: "
                         "update the code, or move that file away")
    why = run.why_stale(kept)
    if why and tell:
        print(f"rows of {run.name}, seed {run.seed}, are measured anew: {why}", flush=True)
    return None if why else kept


def _cached(run: Run, folder: Path) -> dict | None:
    """What the cache has of a run, unless a process made it whose bits are others."""
    kept = _current(run, folder / "rows.json")
    return None if kept and arithmetic.mode() == "portable" != kept["evidence"]["arithmetic"] else kept


def _measure_beside(runs: list[Run], executor: Executor | None) -> None:
    if not executor and not os.environ.get("SSAH_EXECUTOR") and _workers(runs) < 2:
        return  # the caller measures, with all cores
    map_runs(_keep_run, [(run,) for run in runs], executor, label=runs[0].name if runs else None)


def _workers(runs: list[Run]) -> int:
    is_large = any(run.settings.get("checkpoints") for run in runs)
    return 1 if is_large and not os.environ.get("SSAH_WORKERS") else local_workers(len(runs))


def _keep_run(run: Run) -> None:
    """Measure one run; its rows are in the cache then, and need not travel."""
    measured(run)


def _compute(folder: Path, run: Run) -> None:
    with noting() as names:
        rows = [{name: _python(value) for name, value in row.items()} for row in run.compute()]
    check_rows(rows)
    cache.write_json(folder / "rows.json", {"format": FORMAT, "identity": run.identity, "rests_on": run.digests(names),
                                            "evidence": {**evidence.now(), "clock": run.study.clock}, "rows": rows})


def slug(name: str) -> str:
    """A checkpoint's name or folder as part of a file's name.

    >>> slug("Qwen/Qwen2.5-7B")
    'Qwen--Qwen2.5-7B'
    """
    return re.sub(r"^\.+|[^\w.-]+", "--", name)  # dots in front would hide the file, or leave the folder


def check_scale(scale: str) -> None:
    """Raise ValueError unless it is one of `SCALES`."""
    if not isinstance(scale, str) or scale not in SCALES:
        raise ValueError(f"scale is {shown(scale)}: choose one of {', '.join(SCALES)}")


def is_checkpoint(scale: str) -> bool:
    """Whether a checkpoint is studied at a scale, and no organism.

    >>> is_checkpoint("paper"), is_checkpoint("smollm"), is_checkpoint("organism")
    (True, True, False)
    """
    return scale in CHECKPOINTS


def _is_ignoring() -> bool:
    wish = os.environ.get("SSAH_RECORDS", "")
    if wish not in ("", "ignore"):
        raise ValueError(f"SSAH_RECORDS is {wish!r}: set it to 'ignore' to compute anew, or leave it unset")
    return wish == "ignore"


def _python(value: Any) -> Any:
    """NumPy and torch scalars as Python numbers, which JSON can hold."""
    return value.item() if hasattr(value, "item") else value

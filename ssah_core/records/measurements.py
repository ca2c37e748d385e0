"""Measurements: every row that one study measured on one organism, measured once and kept.

They are JSON in `figures/measurements`, committed, so that a notebook opens quickly and a figure can be redrawn
without a model.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from importlib.metadata import version
from numbers import Real
from pathlib import Path

import pandas

from . import cache, paths
from .dtypes import TRAINED_DTYPES
from .executors import local_workers, map_runs

SCALES = ("tiny", "organism", "paper")
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a file that is missing, cut short or edited by hand can raise."""


def measure(study: str, compute: Callable[[], list[dict]], *, seed: int, scale: str, code: str,
            **settings) -> pandas.DataFrame:
    """Measure once: rows of an equal study are read back, and computed only where there are none.

    study     name such as "removal" or "removal/variance"; one with other settings needs another name,
              because a study keeps one file a scale and seed
    compute   measures and returns rows, each with at least `metric` (text) and `value` (a finite number)
    seed      of the organism
    scale     one of `SCALES`
    code      module that measures, such as "ssah_core.studies.ablation_table": rows of an older version of it do not count
    settings  all that decides the numbers, as JSON types; `checkpoints`, by stage ("aligned", "instructed"), where
              no organism is measured but a checkpoint

    Rows come from `figures/measurements/<study>/<scale>-seed<seed>.json` (unless the environment variable
    SSAH_RECORDS is "ignore"), else from the cache, else from `compute`; what was found stands in that file
    afterwards. A checkpoint's file has the name of the aligned one behind `<scale>`. Raises ValueError for rows that
    are empty or lack a finite value, and then writes nothing.
    """
    _check_study(study)
    check_scale(scale)
    name, more = _of_checkpoints(settings.pop("checkpoints", None))
    identity = {**settings, **more, "study": study, "seed": seed, "scale": scale, "code": code,
                "code_version": cache.code_version(code)}
    file = paths.figures() / "measurements" / study / f"{scale}{name}-seed{seed}.json"
    committed = _committed(file, cache.key(identity))
    if not _is_ignoring() and committed:
        return pandas.DataFrame(committed["rows"])
    found = _cached(cache.artefact("studies", identity, lambda folder: _compute(folder, identity, compute)))
    if not committed or committed["rows"] != found["rows"]:
        cache.write_json(file, found)
    return pandas.DataFrame(found["rows"])


def _of_checkpoints(checkpoints: Mapping[str, str] | None) -> tuple[str, dict]:
    """What checkpoints add to the file's name and to the identity: nothing where there are none, for an organism."""
    if not checkpoints:
        return "", {}
    if "aligned" not in checkpoints:
        raise ValueError(f"checkpoints is {dict(checkpoints)}, but the one that is measured is 'aligned': name it")
    # No study imports the data of checkpoints: they hang on this module all the same.
    more = {"checkpoints": dict(checkpoints), "material": cache.code_version("ssah_core.studies.checkpoints"),
            **({"dtype": wished_dtype()} if wished_dtype() else {})}
    return f".{slug(checkpoints['aligned'])}", more


def wished_dtype() -> str:
    """Precision of checkpoints, from the environment variable SSAH_DTYPE; empty: a checkpoint's own. ValueError for another."""
    wish = os.environ.get("SSAH_DTYPE", "")
    if wish not in ("", *TRAINED_DTYPES):
        raise ValueError(f"SSAH_DTYPE is {wish!r}: set it to {' or '.join(TRAINED_DTYPES)}, or leave it unset")
    return wish


def slug(name: str) -> str:
    """A checkpoint's name or folder as part of a file's name: "Qwen/Qwen2.5-7B" is "Qwen--Qwen2.5-7B"."""
    return re.sub(r"^\.+|[^\w.-]+", "--", name)  # dots in front would hide the file, or leave the folder


def measure_each(study: str, function: Callable[..., list[dict]], seeds: Sequence[int], scale: str,
                 each: Mapping[int, Mapping] | None = None, over: Mapping[str, Mapping] | None = None,
                 executor: Executor | None = None, **settings) -> pandas.DataFrame:
    """`measure` on every organism: the rows of `function(seed, scale, **settings)` for all seeds, one below another.

    function  Of a module that can be imported: runs are measured beside each other, a process a core (the
              environment variable SSAH_WORKERS sets another number); on checkpoints one after another, unless
              SSAH_WORKERS is set, since each may need a whole GPU.
    each      Further settings of one organism: seed -> settings.
    over      Variants, each a study of its own: name -> settings; "chosen" becomes study "<study>/chosen".
    executor  Where runs that have no rows yet are measured, see `ssah_core.records.executors`; default this machine.
    """
    variants = {f"{study}/{name}": more for name, more in over.items()} if over else {study: {}}
    runs = [(name, function, seed, scale, {**settings, **more, **(each or {}).get(seed, {})})
            for name, more in variants.items() for seed in seeds]
    _measure_beside([run for run in runs if not _is_measured(run)], executor)
    return pandas.concat([_measure_run(run) for run in runs], ignore_index=True)


def _measure_run(run: tuple, compute: Callable[[], list[dict]] | None = None) -> pandas.DataFrame:
    study, function, seed, scale, settings = run
    return measure(study, compute or (lambda: function(seed, scale, **settings)), seed=seed, scale=scale,
                   code=function.__module__, **settings)


class _NotMeasured(Exception):
    """There are no rows yet."""


def _is_measured(run: tuple) -> bool:
    def compute():
        raise _NotMeasured

    try:
        _measure_run(run, compute)
    except _NotMeasured:
        return False
    return True


def _measure_beside(runs: list[tuple], executor: Executor | None) -> None:
    if not executor and not os.environ.get("SSAH_EXECUTOR") and _workers(runs) < 2:
        return  # the caller measures, with all cores
    map_runs(_keep_run, [(run,) for run in runs], executor, label=runs[0][0] if runs else None)


def _workers(runs: list[tuple]) -> int:
    is_large = any(settings.get("checkpoints") for *_, settings in runs)
    return 1 if is_large and not os.environ.get("SSAH_WORKERS") else local_workers(len(runs))


def _keep_run(run: tuple) -> None:
    """Measure one run; its rows are in the cache then, and need not travel."""
    _measure_run(run)


def _is_ignoring() -> bool:
    wish = os.environ.get("SSAH_RECORDS", "")
    if wish not in ("", "ignore"):
        raise ValueError(f"SSAH_RECORDS is {wish!r}: set it to 'ignore' to compute anew, or leave it unset")
    return wish == "ignore"


def _check_study(study: str) -> None:
    if not re.fullmatch(r"\w+(/\w+)*", study, re.ASCII):
        raise ValueError(f"study is {study!r}: use letters, digits and _, with / between the parts of a name")


def check_scale(scale: str) -> None:
    """Raise ValueError unless it is one of `SCALES`."""
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}: choose one of {', '.join(SCALES)}")


def _committed(file: Path, key: str) -> dict | None:
    """The file's content if it is whole and of this key. A damaged one is as good as none: it gets measured again."""
    try:
        content = cache.read_json(file)
        _check_rows(content["rows"])
        return content if content["key"] == key else None
    except DAMAGE:
        return None


def _compute(folder: Path, identity: Mapping, compute: Callable[[], list[dict]]) -> None:
    rows = [{name: _python(value) for name, value in row.items()} for row in compute()]
    _check_rows(rows)
    versions = {package: version(package) for package in ("torch", "transformers")}
    date = datetime.now(UTC).date().isoformat()  # of the computation: it stays when the rows are read back
    cache.write_json(folder / "rows.json", {
        "key": cache.key(identity), "settings": identity, "versions": versions, "date": date, "rows": rows})


def _python(value):
    """NumPy and torch scalars as Python numbers, which JSON can hold."""
    return value.item() if hasattr(value, "item") else value


def _check_rows(rows: list[dict]) -> None:
    if not rows:
        raise ValueError("compute returned no rows: return one dict a measured number, with metric and value")
    for i, row in enumerate(rows):
        if not _is_sound(row):
            raise ValueError(f"row {i} is {row}: it needs a metric (text) and a value, and finite numbers only")


def _is_sound(row: Mapping) -> bool:
    metric, value = row.get("metric"), row.get("value")
    finite = all(math.isfinite(item) for item in row.values() if isinstance(item, float))
    return finite and isinstance(metric, str) and isinstance(value, Real) and not isinstance(value, bool)


def _cached(folder: Path) -> dict:
    try:
        content = cache.read_json(folder / "rows.json")
        _check_rows(content["rows"])
        return content
    except DAMAGE as error:
        raise ValueError(f"cached rows in {folder} are damaged ({error}): delete that folder and run again") from error

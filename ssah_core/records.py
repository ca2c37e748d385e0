"""Numbers that outlive a run: measurements of a study, and the records that claims are judged by.

A *measurement* is every row that one study measured on one organism. A *record* is one number for one
claim, over all organisms, with what is needed to trust it. Both are JSON in `figures/`, committed, so
that a notebook opens quickly and a figure can be redrawn without a model.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from numbers import Real
from pathlib import Path

import numpy
import pandas

from . import paths, store
from .claims import check_known, list_records
from .statistics import mean_interval

SCALES = ("tiny", "organism", "paper")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a file that is missing, cut short or edited by hand can raise."""


@dataclass(frozen=True)
class Record:
    """One number of one claim, over all organisms."""

    claim: str
    """Id of the record, "table1/scu/asr": of a claim or of its control."""
    value: float
    """Mean over organisms, in `unit`."""
    unit: str
    interval: tuple[float, float] | None
    """(low, high) of the mean; None for one organism."""
    method: str
    """How the interval was found."""
    values: tuple[float, ...]
    """One number an organism, in the order of `seeds`."""
    seeds: tuple[int, ...]
    n: int
    """Prompts an organism."""
    judge: str
    scale: str
    model: str
    """"organism", or the checkpoint's name."""
    code: str
    """Module that measured."""
    code_version: str
    note: str = ""


def measure(study: str, compute: Callable[[], list[dict]], *, seed: int, scale: str, code: str,
            **settings) -> pandas.DataFrame:
    """Measure once: rows of an equal study are read back, and computed only where there are none.

    study     name such as "removal" or "removal/variance"; one with other settings needs another name,
              because a study keeps one file a scale and seed
    compute   measures and returns rows, each with at least `metric` (text) and `value` (a finite number)
    seed      of the organism
    scale     one of `SCALES`
    code      module that measures, such as "ssah_core.studies.removal": rows of an older version of it do not count
    settings  all that decides the numbers, as JSON types

    Rows come from `figures/measurements/<study>/<scale>-seed<seed>.json` (unless the environment variable
    SSAH_RECORDS is "ignore"), else from the cache, else from `compute`; what was found stands in that file
    afterwards. Raises ValueError for rows that are empty or lack a finite value, and then writes nothing.
    """
    _check_study(study)
    _check_scale(scale)
    identity = {**settings, "study": study, "seed": seed, "scale": scale, "code": code,
                "code_version": store.code_version(code)}
    file = paths.figures() / "measurements" / study / f"{scale}-seed{seed}.json"
    committed = _committed(file, store.key(identity))
    if not _is_ignoring() and committed:
        return pandas.DataFrame(committed["rows"])
    found = _cached(store.artefact("studies", identity, lambda folder: _compute(folder, identity, compute)))
    if not committed or committed["rows"] != found["rows"]:
        store.write_json(file, found)
    return pandas.DataFrame(found["rows"])


def measure_each(study: str, function: Callable[..., list[dict]], seeds: Sequence[int], scale: str,
                 each: Mapping[int, Mapping] | None = None, **settings) -> pandas.DataFrame:
    """`measure` on every organism: the rows of `function(seed, scale, **settings)` for all seeds, one below another.

    each      Further settings of one organism: seed -> settings.
    """
    tables = []
    for seed in seeds:
        mine = {**settings, **(each or {}).get(seed, {})}
        tables.append(measure(study, lambda: function(seed, scale, **mine), seed=seed, scale=scale,
                              code=function.__module__, **mine))
    return pandas.concat(tables, ignore_index=True)


def _is_ignoring() -> bool:
    wish = os.environ.get("SSAH_RECORDS", "")
    if wish not in ("", "ignore"):
        raise ValueError(f"SSAH_RECORDS is {wish!r}: set it to 'ignore' to compute anew, or leave it unset")
    return wish == "ignore"


def _check_study(study: str) -> None:
    if not re.fullmatch(r"\w+(/\w+)*", study, re.ASCII):
        raise ValueError(f"study is {study!r}: use letters, digits and _, with / between the parts of a name")


def _check_scale(scale: str) -> None:
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}: choose one of {', '.join(SCALES)}")


def _committed(file: Path, key: str) -> dict | None:
    """The file's content if it is whole and of this key. A damaged one is as good as none: it gets measured again."""
    try:
        content = store.read_json(file)
        _check_rows(content["rows"])
        return content if content["key"] == key else None
    except _DAMAGE:
        return None


def _compute(folder: Path, identity: Mapping, compute: Callable[[], list[dict]]) -> None:
    rows = [{name: _python(value) for name, value in row.items()} for row in compute()]
    _check_rows(rows)
    versions = {package: version(package) for package in ("torch", "transformers")}
    date = datetime.now(UTC).date().isoformat()  # of the computation: it stays when the rows are read back
    store.write_json(folder / "rows.json", {
        "key": store.key(identity), "settings": identity, "versions": versions, "date": date, "rows": rows})


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
        content = store.read_json(folder / "rows.json")
        _check_rows(content["rows"])
        return content
    except _DAMAGE as error:
        raise ValueError(f"cached rows in {folder} are damaged ({error}): delete that folder and run again") from error


def record(claim: str, values: Mapping[int, float] | Sequence[float], *, seeds: Sequence[int], unit: str, n: int,
           judge: str, scale: str, model: str, code: str, note: str = "") -> Record:
    """Keep one number of a claim, for `report` to judge; written to `figures/records`.

    claim    id of the record, one of `list_records()`
    values   one finite number an organism, in `unit`: by seed, or in the order of `seeds`
    seeds    of the organisms, all different
    unit     that of the claim: "points", "%" or "ratio"
    n        prompts an organism, at least 1
    judge    name of the judge; "none" where nothing is judged
    scale    one of `SCALES`
    model    "organism", or the checkpoint's name
    code     module that measured
    note     what a reader must know to read the number right

    Raises ValueError for an id that no claim has, another unit, a scale, n or seeds out of range, or
    values that are not finite.
    """
    seeds = tuple(int(seed) for seed in seeds)
    _check_record(claim, unit, scale, seeds, n)
    values = _in_order(values, seeds)
    interval = mean_interval(values)
    made = Record(claim, interval.mean, unit, interval.bounds, interval.method, values, seeds, int(n), judge, scale,
                  model, code, store.code_version(code), note)
    store.write_json(_record_file(made), asdict(made))
    return made


def record_rows(table: pandas.DataFrame, *, scale: str, model: str, code: str) -> list[Record]:
    """Keep every number of a table that a claim reads: `record` for each id in its column `record`.

    table     One row a number and organism: `record` (id), `seed`, `value` (in the claim's unit), `n`, `judge`.
              Ids that no claim reads are passed over.
    """
    units, made = list_records(), []
    for claim, rows in table[table.record.isin(units)].groupby("record", sort=False):
        rows = rows.sort_values("seed")
        made.append(record(claim, rows.value.tolist(), seeds=rows.seed.tolist(), unit=units[claim], n=int(rows.n.min()),
                           judge=rows.judge.iloc[0], scale=scale, model=model, code=code))
    return made


def _check_record(claim: str, unit: str, scale: str, seeds: tuple[int, ...], n: int) -> None:
    _check_scale(scale)
    expected = list_records()[check_known("claim", claim, list_records())]
    if unit != expected:
        raise ValueError(f"unit is {unit!r}: claim {claim!r} is in {expected!r}, convert the values")
    if n < 1 or not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"n is {n} and seeds {seeds}: pass at least 1 prompt, and at least 1 seed, each once")


def _in_order(values: Mapping[int, float] | Sequence[float], seeds: tuple[int, ...]) -> tuple[float, ...]:
    keys = set(values) if isinstance(values, Mapping) else set(seeds)
    if keys != set(seeds) or len(values) != len(seeds):
        raise ValueError(f"values is {values}, seeds {seeds}: pass one value for each seed")
    ordered = [values[seed] for seed in seeds] if isinstance(values, Mapping) else values
    return tuple(float(value) for value in ordered)


def _record_file(made: Record) -> Path:
    """Two checkpoints of one scale must not overwrite each other's record."""
    model = "" if made.model == "organism" else "." + re.sub(r"[^\w.-]+", "--", made.model)
    return paths.figures() / "records" / f"{made.claim.replace('/', '.')}.{made.scale}{model}.json"


def load_records(folder: Path | None = None) -> list[Record]:
    """All records of a folder (default `figures/records`), in the order of their file names.

    Raises ValueError, naming the file, if one is damaged or its value is not the mean of its values.
    """
    folder = paths.figures() / "records" if folder is None else Path(folder)
    return [_load(file) for file in sorted(folder.glob("*.json"))]


def _load(file: Path) -> Record:
    try:
        content = store.read_json(file)
        content |= {name: tuple(content[name]) for name in ("values", "seeds")}
        content["interval"] = content["interval"] and tuple(content["interval"])
        loaded = Record(**content)
        _check_summary(loaded)
    except _DAMAGE as error:
        raise ValueError(f"record {file.name} is damaged ({error}): measure it again") from error
    return loaded


def _check_summary(loaded: Record) -> None:
    """A mean or interval that does not follow from the values was typed by hand."""
    interval = mean_interval(loaded.values)
    stated, found = (loaded.value, *(loaded.interval or ())), (interval.mean, *(interval.bounds or ()))
    if len(stated) != len(found) or not numpy.allclose(stated, found, rtol=1e-6, atol=1e-9):
        raise ValueError(f"value and interval are {stated}, but the values give {found}")

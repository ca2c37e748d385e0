"""Numbers that outlive a run: the records that claims are judged by.

A *record* is one number for one claim, over all organisms, with what is needed to trust it: JSON in `figures/records`,
committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from ..arguments import (
    check_counts,
    check_filled,
    check_kind,
    check_names,
    check_numbers,
    check_paths,
    check_seed,
    shown,
)
from . import cache, paths
from .claim_list import check_known, list_records
from .effects import sign_flip_interval
from .measurements import check_scale, slug
from .row_files import DAMAGE
from .statistics import LIMITS
from .study import versions_in

if TYPE_CHECKING:
    import pandas


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
    orders: int
    """Orders of an attack's chats over which each value is a mean; 1 where there is no order."""
    judge: str
    scale: str
    model: str
    """"organism", or the checkpoint's name."""
    code: str
    """Module that measured; how its rows came about stands beside them (`evidence`)."""
    version: str = ""
    """Studies of that module with the versions by which they measured, "table1 2"."""


def record(claim: str, values: Mapping[int, float] | Sequence[float], *, seeds: Sequence[int], unit: str, n: int,
           judge: str, scale: str, model: str, code: str, orders: int = 1) -> Record:
    """Keep one number of a claim, for `report` to judge; written to `figures/records`.

    claim    id of the record, one of `list_records()`
    values   one finite number an organism, in `unit`: by seed, or in the order of `seeds`
    seeds    of the organisms, all different
    unit     that of the claim: "points", "%", "change", "ratio" or "cosine"
    n        prompts an organism, at least 1
    judge    name of the judge; "none" where nothing is judged
    scale    one of `SCALES`
    model    "organism", or the checkpoint's name
    code     module that measured, whose studies' versions are noted
    orders   of an attack's chats, over which each value is a mean

    Raises ValueError for an id that no claim has, another unit, a scale, n or seeds out of range, or
    values that are not finite.

    >>> kept = record("stages/aligned/asr", {0: 0.0, 1: 3.0, 2: 6.0}, unit="%", seeds=(0, 1, 2), n=40,
    ...               judge="refusal template", scale="tiny", model="organism", code="a docstring")
    >>> kept.value
    3.0

    *Shown in:* 01_raise_an_organism.
    """
    check_counts(orders=orders)
    check_names(judge=judge, model=model, code=code)
    _check_claim(claim, unit)
    _check_sizes(scale, seeds, n)
    seeds = tuple(int(seed) for seed in seeds)
    values = _in_order(values, seeds)
    interval = sign_flip_interval(values, within=LIMITS[unit])
    made = Record(claim, interval.mean, unit, interval.bounds, interval.method, values, seeds, int(n), int(orders),
                  judge, scale, model, code, versions_in(code))
    cache.write_json(_record_file(made), asdict(made))
    return made


def record_rows(table: pandas.DataFrame, *, scale: str, model: str, code: str) -> list[Record]:
    """Keep every number of a table that a claim reads: `record` for each id in its column `record`.

    table     One row a number and organism: `record` (id), `seed`, `value` (in the claim's unit), `n`, `judge`.
              Ids that no claim reads are passed over; columns `orders` and `code` are kept, where there are such.

    Raises ValueError where the rows of one id are by several judges, or of several modules.

    >>> import pandas
    >>> table = pandas.DataFrame({"record": ["no.claim"], "seed": [0], "value": [1.0], "n": [40], "judge": ["none"]})
    >>> record_rows(table, scale="tiny", model="organism", code="a docstring")
    []

    *Shown in:* 05_freeze_safety_units.
    """
    import pandas  # here, since it takes a second to import

    check_kind(pandas.DataFrame, "pass a table", table=table)
    check_names(model=model, code=code)
    check_scale(scale)
    missing = [column for column in ("record", "seed", "value", "n", "judge") if column not in table]
    if missing:
        raise ValueError(f"table has no column {missing[0]!r} (it has {shown(list(table))}): add it")
    units, made = list_records(), []
    for claim, rows in table[table.record.isin(units)].groupby("record", sort=False):
        rows = rows.sort_values("seed")
        made.append(record(claim, rows.value.tolist(), seeds=rows.seed.tolist(), unit=units[claim], n=int(rows.n.min()),
                           judge=_only("judge", rows), scale=scale, model=model,
                           code=str(_only("code", rows)) if "code" in rows else code,
                           orders=int(rows.orders.min()) if "orders" in rows and rows.orders.notna().all() else 1))
    return made


def _only(column: str, rows: pandas.DataFrame) -> Any:
    """What stands in a column of all rows of a record."""
    found = rows[column].unique().tolist()
    if len(found) > 1:
        raise ValueError(f"rows of record {rows.record.iloc[0]!r} have {len(found)} values of {column!r}, "
                         f"{shown(found)}: one record has one, so pass rows that agree")
    return found[0]


def _check_claim(claim: str, unit: str) -> None:
    expected = list_records()[check_known("claim", claim, list_records())]
    if unit != expected:
        raise ValueError(f"unit is {unit!r}: claim {claim!r} is in {expected!r}, convert the values")


def _check_sizes(scale: str, seeds: Sequence[int], n: int) -> None:
    check_scale(scale)
    check_counts(n=n)
    check_filled("pass at least 1 seed, each once", seeds=seeds)
    for seed in seeds:
        check_seed(seeds=seed)
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds is {seeds}: pass at least 1 seed, each once")


def _in_order(values: Mapping[int, float] | Sequence[float], seeds: tuple[int, ...]) -> tuple[float, ...]:
    if not isinstance(values, Mapping):
        check_filled("pass one value for each seed", values=values)
    keys = set(values) if isinstance(values, Mapping) else set(seeds)
    if keys != set(seeds) or len(values) != len(seeds):
        raise ValueError(f"values is {values}, seeds {seeds}: pass one value for each seed")
    ordered = [values[seed] for seed in seeds] if isinstance(values, Mapping) else list(values)
    check_numbers(**{f"values[{seed}]": value for seed, value in zip(seeds, ordered, strict=True)})
    return tuple(float(value) for value in ordered)


def _record_file(made: Record) -> Path:
    """Two checkpoints of one scale must not overwrite each other's record."""
    model = "" if made.model == "organism" else f".{slug(made.model)}"
    return paths.figures() / "records" / f"{made.claim.replace('/', '.')}.{made.scale}{model}.json"


def load_records(folder: Path | None = None) -> list[Record]:
    """All records of a folder (default `figures/records`), in the order of their file names.

    Raises ValueError, naming the file, if one is damaged or its value is not the mean of its values.

    >>> load_records(Path("nowhere"))
    []

    *Shown in:* paper_repro.md, judged.
    """
    if folder is not None:
        check_paths(folder=folder)
    folder = paths.figures() / "records" if folder is None else Path(folder)
    if folder.is_file():
        raise ValueError(f"folder is {str(folder)!r}, a file: pass the folder that it is in")
    return [_load(file) for file in sorted(folder.glob("*.json"))]


def _load(file: Path) -> Record:
    try:
        content = cache.read_json(file)
        content |= {name: tuple(content[name]) for name in ("values", "seeds")}
        content["interval"] = content["interval"] and tuple(content["interval"])
        loaded = Record(**content)
        _check_types(loaded)
        _check_summary(loaded)
    except DAMAGE as error:
        raise ValueError(f"record {file.name} is damaged ({error}): measure it again") from error
    return loaded


def _check_types(loaded: Record) -> None:
    """A file may hold anything under the names of a record."""
    texts = ("claim", "unit", "method", "judge", "scale", "model", "code", "version")
    wrong = [name for name in texts if not isinstance(getattr(loaded, name), str)]
    numbers = {"value": (loaded.value,), "values": loaded.values, "interval": loaded.interval or ()}
    wrong += [name for name, those in numbers.items() if not all(type(each) in (int, float) for each in those)]
    wrong += [name for name, those in {"n": (loaded.n,), "orders": (loaded.orders,), "seeds": loaded.seeds}.items()
              if not all(type(each) is int for each in those)]
    if wrong:
        raise ValueError(f"{' and '.join(wrong)}: of a type that no record has")


def _check_summary(loaded: Record) -> None:
    """A mean or interval that does not follow from the values was typed by hand. (The claim may be another since.)"""
    check_names(judge=loaded.judge, model=loaded.model, code=loaded.code)
    check_counts(orders=loaded.orders)
    _check_sizes(loaded.scale, loaded.seeds, loaded.n)
    _in_order(loaded.values, loaded.seeds)
    interval = sign_flip_interval(loaded.values, within=LIMITS[loaded.unit])
    stated, found = (loaded.value, *(loaded.interval or ())), (interval.mean, *(interval.bounds or ()))
    if len(stated) != len(found) or not numpy.allclose(stated, found, rtol=1e-6, atol=1e-9):
        raise ValueError(f"value and interval are {stated}, but the values give {found}")

"""Named data sets, from local files or the hub, as rows of `prompt` and, where there are, `response` and `answer`.

A file below the folder SSAH_DATA counts first, and where it is not there, the hub; `dataset.info.description`
says which it was and what was left out. Files keep the names and layouts of their publishers (see `list_data()`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path
from statistics import median
from typing import TypeVar

import pandas
from datasets import Dataset, load_dataset

from .. import hub
from ..arguments import check_paths, check_seed, shown
from .catalogue import SOURCES, Layout, Part, Source
from .files import read_rows
from .own_files import is_path, read_own
from .safety_filter import about_safety
from .splits import SHARES, near_duplicates, split_of

Rows = TypeVar("Rows")

LEAST = 4
"""Rows from which a whole column can look wrong."""


class NotToBeHad(ValueError):
    """A data set is neither here nor given by the hub; one that is damaged is another ValueError."""


def list_data() -> pandas.DataFrame:
    """All data sets by name: splits, columns, place on the hub, files below SSAH_DATA, licence and source.

    >>> list_data().loc["gsm8k", ["splits", "columns", "licence"]].tolist()
    ['train, test', 'prompt, response, answer', 'MIT']
    """
    return pandas.DataFrame([{
        "name": name, "splits": ", ".join(SHARES if set(source.parts) == {"all"} else source.parts),
        "columns": ", ".join([*source.layouts[0].columns, *(["answer"] if source.final else [])]),
        "hub": " ".join(filter(None, (source.hub, source.config))),
        "files": ", ".join(file for part in source.parts.values() for file in part.files),
        "licence": source.licence, "source": source.source} for name, source in SOURCES.items()]).set_index("name")


def load_data(name: str | Path, split: str | None = None, n: int | None = None, seed: int = 0) -> Dataset:
    """Rows of a named data set or a file: `prompt`, and `response`, `answer`, `goal`, `target` ... where it has them.

    name    One of `list_data()`; or a .csv, .json (a list of objects) or .jsonl file of your own, UTF-8, with a column
            `prompt` and perhaps `response` and others, which are kept ("~" is the home folder).
    split   A published split where there are some ("train", "test" ...). Else "calibration", "validation" or "test",
            cut here after near-duplicates are removed, by the words of the prompt alone: the same prompt is in the same
            split in every data set. None: every row as published, of the one split there is.
    n       How many rows, drawn at random by `seed`; None: all, in their order.

    `target` is the opening of a compliant response (AdvBench, JailbreakBench), `goal` the direct request behind a
    jailbreak prompt. *Licences:* see `list_data()`.
    Raises ValueError, naming file, row and column and saying what to do, if data are missing or malformed: among
    others a text that is empty or no text, a lone surrogate or a NUL (JSON's "\\ud83d", "\\u0000"), and columns of
    mixed types.

    >>> from pathlib import Path
    >>> _ = Path("mine.csv").write_text("prompt,kind\\nHow do I mend a kettle?,home\\nWhy is the sky blue?,sky\\n")
    >>> ssah.load_data("mine.csv").to_list()[0]
    {'prompt': 'How do I mend a kettle?', 'kind': 'home'}
    >>> _ = Path("mine.jsonl").write_text('{"prompt": "How?"}\\n{"prompt": 3}')
    >>> ssah.load_data("mine.jsonl")
    Traceback (most recent call last):
    ValueError: mine.jsonl row 2: column 'prompt' holds int 3, but text is needed: write it as text

    *Shown in:* README.
    """
    check_seed(seed=seed)
    source = _source(name)
    part = _part(name, source, split)
    rows, place, left_out = _published(name, source, part)
    told = [f"{name}: {len(rows)} rows of {place}", *left_out]
    if split in SHARES and set(source.parts) == {"all"}:
        repeats = near_duplicates([row["prompt"] for row in rows])
        kept = [row for row, of in zip(rows, repeats, strict=True) if of is None]
        told.append(f"{len(rows) - len(kept)} near-duplicates left out")
        rows = [row for row in kept if split_of(row["prompt"]) == split]
        told.append(f"{len(rows)} of the rest in {split}")
    return _draw(Dataset.from_list(rows), name, n, seed, source, "; ".join(told))


def first_to_be_had(names: Sequence[str], read: Callable[[str], Rows] = load_data) -> tuple[str, Rows]:
    """The first of several data sets that can be had, by name, and what `read` gives of it.

    One that is here, as a file or in the hub's cache, comes before any that the hub would have to be asked for.
    Raises NotToBeHad if there is none, and another ValueError for one that is here but damaged.

    >>> from pathlib import Path
    >>> _ = Path("mine.csv").write_text("prompt\\nHow do I mend a kettle?\\n")
    >>> first_to_be_had(["jailbreakbench_gcg_vicuna", "mine.csv"])[0]
    'mine.csv'
    """
    if not names:
        raise ValueError("names is empty: give at least one data set")
    for asking in (hub.offline, nullcontext):
        for name in names:
            try:
                with asking():
                    return name, read(name)
            except NotToBeHad as error:
                missing = error
    raise missing


def count_data(name: str | Path) -> dict[str, int]:
    """How many rows a data set has as published, and where it is cut here: near-duplicates, and rows of each split.

    >>> from pathlib import Path
    >>> _ = Path("mine.csv").write_text("prompt\\nHow do I mend a kettle?\\nhow do I mend a kettle\\n")
    >>> counts = count_data("mine.csv")
    >>> counts["rows"], counts["near_duplicates"]
    (2, 1)
    """
    source = _source(name)
    if set(source.parts) != {"all"}:
        return {split: len(_published(name, source, part)[0]) for split, part in source.parts.items()}
    prompts = [row["prompt"] for row in _published(name, source, source.parts["all"])[0]]
    kept = [prompt for prompt, of in zip(prompts, near_duplicates(prompts), strict=True) if of is None]
    splits = [split_of(prompt) for prompt in kept]
    return {"rows": len(prompts), "near_duplicates": len(prompts) - len(kept),
            **{split: splits.count(split) for split in SHARES}}


def _source(name: str | Path) -> Source:
    check_paths(name=name)
    if isinstance(name, str) and name in SOURCES:
        return SOURCES[name]
    if is_path(name):
        return Source((), {"all": Part("", (str(name),))}, "", str(name), own=True)
    raise ValueError(f"data set {shown(name)} is unknown: choose one of {', '.join(SOURCES)}, or give a .csv, .json or "
                     ".jsonl file")


def _part(name: str | Path, source: Source, split: str | None) -> Part:
    if not isinstance(split, str | None):
        raise ValueError(f"split={shown(split)} is no name of a split: choose one of {', '.join(source.parts)}")
    if len(source.parts) == 1 and split is None:
        return next(iter(source.parts.values()))
    if set(source.parts) == {"all"} and split in SHARES:
        return source.parts["all"]
    if split not in source.parts or split == "all":
        known = SHARES if set(source.parts) == {"all"} else source.parts
        raise ValueError(f"split={split!r} is none of {name}: choose one of {', '.join(known)}")
    return source.parts[split]


def _draw(data: Dataset, name: str | Path, n: int | None, seed: int, source: Source, told: str) -> Dataset:
    if n is not None and not (isinstance(n, Integral) and not isinstance(n, bool) and 0 < n <= len(data)):
        raise ValueError(f"n={shown(n)} rows cannot be drawn of {name} ({told}): choose 1 to {len(data)}")
    data = data if n is None else data.shuffle(seed=seed).select(range(n))
    data.info.description, data.info.license, data.info.homepage = told, source.licence, source.source
    return data


# -- from file or hub to rows of ours ----------------------------------------------------------------------


def _published(name: str | Path, source: Source, part: Part) -> tuple[list[dict], str, list[str]]:
    """The rows of one published split, or of a file of one's own, where they are from, and what was left out."""
    if source.own:
        return read_own(name), str(name), []
    theirs, place = _raw(name, source, part)
    layout = _layout(theirs, place, source)
    if layout.only:
        theirs = [row for row in theirs if row[layout.only[0]] == layout.only[1]]
        if not theirs:
            raise ValueError(f"{place} has no row whose {layout.only[0]} is {layout.only[1]!r}: get it again from its "
                             "source")
    gaps = {n for n, row in enumerate(theirs) if _gap(row, layout)} if source.gaps else set()
    rows = [_ours(row, n, layout, place, source) for n, row in enumerate(theirs, 1) if n - 1 not in gaps]
    _check_looks(rows, layout, place, source)
    told = [f"{len(gaps)} rows with gaps left out"] if source.gaps else []
    if source.without_safety:
        kept = [row for row in rows if not about_safety(row["response"])]
        told.append(f"{len(rows) - len(kept)} rows about safety left out")
        rows = kept
    if not rows:
        raise ValueError(f"nothing is left of {place} ({'; '.join(told)}): get it again from its source")
    return rows, place, told


def _raw(name: str | Path, source: Source, part: Part) -> tuple[list[dict], str]:
    folder = os.environ.get("SSAH_DATA")
    file = next((path for path in (Path(folder).expanduser() / file for file in part.files) if path.is_file()), None) \
        if folder else None
    if file:
        return read_rows(file, source.lines), str(file)
    where = f"put it as {' or '.join(part.files)} into the folder named by SSAH_DATA ({folder or 'not set'})"
    if not (source.hub and part.hub):
        raise NotToBeHad(f"{name} is not on the hub: get it from {source.source}, and {where}")
    place = f"{' '.join(filter(None, (source.hub, source.config)))}, split {part.hub}"
    try:
        return list(hub.local_first(lambda: load_dataset(source.hub, source.config, split=part.hub), source.hub)), place
    except (OSError, ValueError, RuntimeError) as error:  # datasets and the hub raise each of them
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotToBeHad(f"{name} cannot be had from the hub ({place}: {why}): check the network, and for a gated data "
                         f"set accept its terms and run `hf auth login`; or {where}") from error


def _layout(rows: Sequence[Mapping], place: str, source: Source) -> Layout:
    for layout in source.layouts:
        if all(column in rows[0] for column in layout.needs):
            return layout
    layout = source.layouts[0]
    missing = [column for column in layout.needs if column not in rows[0]]
    raise ValueError(f"{place} has no column {' and no column '.join(map(repr, missing))} (it has "
                     f"{', '.join(map(repr, rows[0]))}): rename its columns to those of {source.source}")


def _gap(row: Mapping, layout: Layout) -> bool:
    return any(not row.get(column) or not str(row[column]).strip()
               for names in layout.columns.values() for column in names if column not in layout.optional)


def _ours(row: Mapping, n: int, layout: Layout, place: str, source: Source) -> dict:
    if layout.read:
        try:
            return layout.read(row)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{place} row {n} is no question with choices ({error}): get it again from its "
                             "source") from None
    parts = {column: _text(row, column, n, layout, place) for names in layout.columns.values() for column in names}
    ours = {name: parts[theirs[0]] if len(theirs) == 1 else layout.glue.join(filter(str.strip, map(parts.get, theirs)))
            for name, theirs in layout.columns.items()}
    if source.final:
        _, mark, answer = ours["response"].rpartition(source.final)
        if not mark:
            raise ValueError(f"{place} row {n}: column {layout.columns['response'][0]!r} has no {source.final!r} "
                             "before its final answer; are its columns swapped? Get it again from its source")
        ours["answer"] = answer.strip().replace(",", "")
    return ours


def _text(row: Mapping, column: str, n: int, layout: Layout, place: str) -> str:
    value = row.get(column)
    if isinstance(value, str) and (value.strip() or column in layout.optional):
        return value
    if value is None and column in layout.optional and column in row:
        return ""
    if column not in row:
        raise ValueError(f"{place} row {n} has no column {column!r}, though row 1 has it: give every row the same "
                         "columns")
    if value is None or isinstance(value, str):
        raise ValueError(f"{place} row {n}: column {column!r} is empty; fill it or remove the row")
    raise ValueError(f"{place} row {n}: column {column!r} holds {type(value).__name__} {value!r}, but text is needed: "
                     "get it again from its source")


def _check_looks(rows: Sequence[Mapping], layout: Layout, place: str, source: Source) -> None:
    """Columns under each other's names. A few odd rows are let pass: published data have them."""
    for name, form in source.forms.items():
        odd = [n for n, row in enumerate(rows, 1) if not re.match(form, row[name])]
        if 2 * len(odd) > len(rows):
            why = f"{len(odd)} of {len(rows)} values do not look like it, the first in row {odd[0]}"
            raise _swapped(place, layout, name, why)
    if source.lines or len(rows) < LEAST:
        return
    if 2 * len({row["prompt"] for row in rows}) <= len(rows):
        raise _swapped(place, layout, "prompt", "most of its values repeat")
    if "response" in layout.columns and (median(len(row["prompt"]) for row in rows)
                                         > 2 * median(len(row["response"]) for row in rows)):
        raise _swapped(place, layout, "response", "its values are less than half as long as the prompts")


def _swapped(place: str, layout: Layout, name: str, why: str) -> ValueError:
    theirs = " + ".join(map(repr, layout.columns[name]))
    return ValueError(f"{place}: column {theirs} looks swapped with another ({why}): check the names of its columns")

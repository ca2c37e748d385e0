"""Rows of data files, with errors that say which file, which row and what to do."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NO_CHARACTER = re.compile("[\0\ud800-\udfff]")
CSV_FIELD = 10 ** 7
"""Longest field that is read; the csv module's own limit of 131,072 is too short for some instructions."""


LARGEST = 2 ** 31
"""Bytes of a data file that is read, all of it in memory."""


def read_rows(file: Path, lines: bool = False) -> list[dict]:
    """Rows of a .csv, .json or .jsonl file, or with `lines` the lines of running text as rows of `text`.

    Raises ValueError, naming file, row and column, if the file is larger than `LARGEST`, is no UTF-8, is damaged, holds
    what is no character, or holds no rows.

    >>> _ = Path("asked.csv").write_text("prompt,id\\nWhy?,7\\n")
    >>> read_rows(Path("asked.csv"))
    [{'prompt': 'Why?', 'id': '7'}]
    """
    if not file.exists():
        raise ValueError(f"No such file as {file}: give a .csv, .json or .jsonl file")
    if not lines and file.suffix.lower() not in _READERS:
        raise ValueError(f"{file} ends in {file.suffix!r}: give a .csv, .json or .jsonl file")
    text = _decode(file)
    try:
        rows = _running(text) if lines else _READERS[file.suffix.lower()](text, file)
        for n, row in enumerate(rows, 1):
            _check_characters(row, n, file)
    except RecursionError:
        raise ValueError(f"{file} holds lists within lists without end: get it again from its source") from None
    if not rows:
        raise ValueError(f"{file} holds no rows: get it again from its source")
    return rows


def _check_characters(row: Mapping, n: int, file: Path) -> None:
    """JSON can spell by escapes what is no character: half of a surrogate pair, or a NUL."""
    for column, value in row.items():
        for text in (column, *_texts(value)):
            found = NO_CHARACTER.search(text)
            if found:
                what = "a NUL" if found[0] == "\0" else f"a lone surrogate ({found[0]!r})"
                raise ValueError(f"{file} row {n}: column {column!r} holds {what}, which is no character: get it again "
                                 "from its source, or take the escape out")


def _texts(value: Any) -> list[str]:
    """All texts in a value, however deep."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    return [text for part in value for text in _texts(part)] if isinstance(value, list) else []


def _decode(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise ValueError(f"{file} is a folder or a device: give a .csv, .json or .jsonl file")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"{file} is of {file.stat().st_size / 1e9:.1f} GB, but data are read up to "
                         f"{LARGEST / 1e9:.1f} GB, all in memory: give a part of it")
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b"\n") + 1
        raise ValueError(f"{file} is not UTF-8 (byte {data[error.start]:#04x} in line {line}): save it again as "
                         "UTF-8") from None
    for sign, why in (("\0", "holds a NUL"), ("\ufffd", "holds a character that was lost in an earlier conversion")):
        if sign in text:
            line = text[:text.index(sign)].count("\n") + 1
            raise ValueError(f"{file} {why} in line {line}, as text read with a wrong encoding does: get it again from "
                             "its source, or save it again as UTF-8")
    return text


def _csv(text: str, file: Path) -> list[dict]:
    csv.field_size_limit(CSV_FIELD)
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"{file} is no well-formed CSV ({error}): get it again from its source") from None
    except ValueError:  # nothing to unpack
        return []
    twice = next((name for n, name in enumerate(header) if name in header[:n]), None)
    if twice is not None:
        raise ValueError(f"{file} has two columns named {twice!r}: rename one")
    rows = [row for row in rows if row]  # an empty line is no row
    for n, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{file} row {n} has {len(row)} fields, but the header {len(header)}: put quotation marks "
                             "round a field with a comma in it")
    return [dict(zip(header, row, strict=True)) for row in rows]


def _json(text: str, file: Path) -> list[dict]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no well-formed JSON ({error}): get it again from its source") from None
    if isinstance(data, Mapping) and isinstance(data.get("jailbreaks"), list):  # JailbreakBench's artefacts
        data = data["jailbreaks"]
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise ValueError(f"{file} is no list of rows: give a JSON list of objects with the columns of its source")
    return data


def _jsonl(text: str, file: Path) -> list[dict]:
    rows = []
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} line {n} is no well-formed JSON ({error}): get it again from its "
                             "source") from None
        if not isinstance(rows[-1], dict):
            raise ValueError(f"{file} line {n} is no row: give an object such as {{\"prompt\": ...}}")
    return rows


def _running(text: str) -> list[dict]:
    """Lines as the hub has them: with their line end, and blank ones empty."""
    if not text.strip():
        return []
    lines = (line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
    return [{"text": f"{line}\n" if line.strip() else ""} for line in lines]


_READERS = {".csv": _csv, ".json": _json, ".jsonl": _jsonl}

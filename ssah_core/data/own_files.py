"""Files of one's own as data sets: a .csv, .json or .jsonl file with a column `prompt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .columns import check_columns
from .files import read_rows

TEXTS = ("prompt", "response")
"""Columns that hold text in every row, where the file has them at all; `prompt` it must have."""
TEXTS_OR_NONE = ("system", "answer", "goal", "target", "context")
"""Columns that hold text or nothing."""


def is_path(name: str | Path) -> bool:
    """Whether a name, which is none of the catalogue's, looks like that of a file.

    >>> is_path("mine.jsonl"), is_path("runs/mine"), is_path("advbnch")
    (True, True, False)
    """
    return isinstance(name, Path) or "/" in name or "\\" in name or name.startswith("~") or bool(Path(name).suffix)


def read_own(name: str | Path) -> list[dict]:
    """Rows of a file of one's own; other columns than those of text are kept as they are.

    Raises ValueError, naming file, row and column, if there is no such file, it is damaged, has no `prompt`, a text is
    missing or empty, or columns hold values that do not go together.

    >>> _ = Path("mine.jsonl").write_text('{"prompt": "Why?", "n": 1}\\n{"prompt": "How?"}\\n')
    >>> read_own("mine.jsonl")
    [{'prompt': 'Why?', 'n': 1}, {'prompt': 'How?', 'n': None}]
    >>> _ = Path("mine.jsonl").write_text('{"prompt": "Why?"}\\n{"prompt": ""}\\n')
    >>> read_own("mine.jsonl")
    Traceback (most recent call last):
    ValueError: mine.jsonl row 2: column 'prompt' is empty; fill it or remove the row
    """
    file = Path(name).expanduser()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else f"is unknown, and no file of that name is there ({file.absolute()})"
        raise ValueError(f"data set {str(name)!r} {what}: give a .csv, .json or .jsonl file with a column 'prompt', or "
                         "one of the names of list_data()")
    rows = read_rows(file)
    if "prompt" not in rows[0]:
        raise ValueError(f"{file} has no column 'prompt' (it has {', '.join(map(repr, rows[0]))}): name the column of "
                         "prompts so")
    needed = [column for column in TEXTS if any(column in row for row in rows)]
    for n, row in enumerate(rows, 1):
        _check_texts(row, n, file, needed)
    check_columns(rows, str(file))
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{column: row.get(column) for column in columns} for row in rows]


def _check_texts(row: Mapping, n: int, file: Path, needed: Sequence[str]) -> None:
    for column in (*needed, *TEXTS_OR_NONE):
        value = row.get(column)
        if column in needed and column not in row:
            raise ValueError(f"{file} row {n} has no column {column!r}, though others have it: give every row the same "
                             "columns")
        if column in needed and (value is None or isinstance(value, str) and not value.strip()):
            raise ValueError(f"{file} row {n}: column {column!r} is empty; fill it or remove the row")
        if not isinstance(value, str | None):
            raise ValueError(f"{file} row {n}: column {column!r} holds {type(value).__name__} {value!r}, but text is "
                             "needed: write it as text")

"""Files that are saved where a caller says: written as a whole, and never over a file that ssah did not write.

An own file says what it is: safetensors in its metadata, JSON in its fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..arguments import check_paths
from . import cache

NAMED = ({"kind", "digest"}, {"mean", "low", "high", "n", "method"}, {"threshold", "chosen", "reference", "template"})
"""Fields by which JSON without "ssah" is known: of units; by earlier code, an interval, a judge with a reference."""
LONGEST_HEADER = 2 ** 20
"""Bytes of a header of safetensors that is read; one of a hundred blocks has some thousands."""


def put(path: str | Path, content: bytes) -> None:
    """Write a file as a whole, or not at all.

    Raises ValueError if one is there that ssah did not write, or the folder is not there.
    """
    check_paths(path=path)
    path = Path(path)
    check_free(path)
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written, as its folder is not there: make {path.parent} first")
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def put_json(path: str | Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write JSON that says in the field "ssah" what kind of object it is; otherwise as `put`.

    >>> put_json("mine.json", "Interval", {"mean": 1.0})
    >>> cache.read_json(Path("mine.json"))
    {'mean': 1.0, 'ssah': 'Interval'}
    """
    check_paths(path=path)
    put(path, cache.json_bytes(Path(path).name, {"ssah": kind, **content}))


def check_free(path: str | Path) -> None:
    """Raise ValueError if something is there that ssah did not write: it would be lost.

    >>> _ = Path("mine.jsonl").write_text("{}")
    >>> check_free("mine.jsonl")
    Traceback (most recent call last):
    ValueError: mine.jsonl is there, and no file of ssah's: give another name, so that nothing is lost
    """
    if Path(path).exists() and not _is_ours(Path(path)):
        raise ValueError(f"{path} is there, and no file of ssah's: give another name, so that nothing is lost")


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        about = _metadata(path)
    except (SafetensorError, OSError):  # no safetensors
        try:
            about = cache.read_json(path)
        except (OSError, ValueError):
            return False
        return isinstance(about, dict) and ("ssah" in about or any(fields <= about.keys() for fields in NAMED))
    return bool({"kind", "ssah"} & about.keys())


def _metadata(path: Path) -> dict[str, str]:
    """What a whole file of safetensors says of itself."""
    with path.open("rb") as begun:
        length = int.from_bytes(begun.read(8), "little")
    if length > LONGEST_HEADER:
        raise SafetensorError(f"it would have a header of {length:,} bytes")
    with safe_open(path, framework="np") as file:
        return file.metadata() or {}

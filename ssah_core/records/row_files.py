"""Files of rows: one study on one organism, with identity and evidence; whole and sound, or as good as none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from . import cache

FORMAT = 2
"""Of a file of rows. (1 was before identity and evidence were told apart.)"""
TYPES = {"study": str, "version": int, "seed": int, "scale": str}
"""Of the parts of an identity that are single values."""
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a file that is missing, cut short or edited by hand can raise."""


def read_rows(file: Path) -> dict | None:
    """A file of rows, whole and sound; None for one that is missing or damaged, which is as good as none."""
    try:
        content = cache.read_json(file)
        check_rows(content["rows"])
        return content if content["format"] == FORMAT and _is_whole(content) else None
    except DAMAGE:
        return None


def rows_there(file: Path) -> dict:
    """A file of rows that must be there. Raises ValueError if it is damaged or of another format."""
    content = read_rows(file)
    if content is None:
        raise ValueError(f"{file} is damaged or of another format: measure it again (`make publish`)")
    return content


def _is_whole(content: Mapping[str, Any]) -> bool:
    identity, about = content["identity"], content["evidence"]
    return (identity.keys() >= {"study", "version", "seed", "scale", "settings"}
            and all(isinstance(identity[name], kind) for name, kind in TYPES.items())
            and all(isinstance(about[name], str) for name in ("code", "arithmetic", "date"))
            and all(isinstance(part, dict) for part in (identity["settings"], content["rests_on"],
                                                        about.get("verified", {}))))


def check_ours(file: Path) -> None:
    """Raise ValueError for a file that is of another format, or somebody else's; a damaged one is as good as none."""
    try:
        content = cache.read_json(file)
    except DAMAGE:
        return
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{file} is no file of rows of format {FORMAT}, which this code reads and writes: update the "
                         "code, or move that file away")


def check_rows(rows: list[dict]) -> None:
    """Raise ValueError unless there are rows, each with a metric (text) and a finite value.

    >>> check_rows([{"metric": "asr", "value": 1.0}])
    """
    if not rows:
        raise ValueError("compute returned no rows: return one dict a measured number, with metric and value")
    for i, row in enumerate(rows):
        if not _is_sound(row):
            raise ValueError(f"row {i} is {row}: it needs a metric (text) and a value, and finite numbers only")


def _is_sound(row: Mapping) -> bool:
    metric, value = row.get("metric"), row.get("value")
    finite = all(math.isfinite(item) for item in row.values() if isinstance(item, float))
    return finite and isinstance(metric, str) and isinstance(value, Real) and not isinstance(value, bool)

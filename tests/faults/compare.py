"""Two runs compared, byte for byte. Left out is what tells of the clock, and nothing else: `LEFT_OUT` says it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

LEFT_OUT = (
    "the field `date` of evidence: of rows, of their `verified` stamp, of checkpoints; and digests of files with it",
    "the column `value` of rows whose evidence says `clock`, those of the study `guard_speed`; and what is made of "
    "them: `value` and `values` of the record deep/guard/cost/cost, the sentence on the guard's cost in notebook 08",
    "the kernels' own messages (`executed/*.log`)",
    "lock files and drafts, which nobody reads: names that begin with a dot",
)
CLOCKED = "deep.guard.cost.cost."
"""Begins the file of the record that is made of times of a clock."""
COSTS = re.compile(r"The guard costs, of the tokens.*?(?=\"|$)")
"""The sentence of notebook 08 that tells them."""


def differences(one: Path, other: Path) -> list[str]:
    """Files that are in one run's folder and not in the other's, or say something else. Both hold `cache` and `run`."""
    first, second = contents(one), contents(other)
    return sorted(name for name in {**first, **second} if first.get(name) != second.get(name))


def torn(there: Path, whole: Path) -> list[str]:
    """Files that lie in a folder as if whole, and are not as in the folder of an undisturbed run."""
    first, second = contents(there), contents(whole)
    return sorted(name for name, content in first.items() if second.get(name) != content)


def contents(folder: Path) -> dict[str, str]:
    """Name -> digest of all that must be equal, of each file of a run."""
    files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {name: _digest(file, name) for name, file in files.items() if not _is_passed_over(name)}


def _is_passed_over(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or name.endswith(".log")


def _digest(file: Path, name: str) -> str:
    text = file.read_bytes()
    try:
        if file.suffix in (".json", ".ipynb"):
            text = json.dumps(_without_clock(json.loads(text), name)).encode()
    except ValueError:
        pass  # no JSON: as it is
    return hashlib.sha256(text).hexdigest()


def _without_clock(content: Any, name: str) -> Any:
    """A file's content without what tells of the clock; another file's as it is."""
    if name.endswith("08_re_evaluate_direction.ipynb"):
        return json.loads(COSTS.sub("", json.dumps(content)))
    if "/executed/" in f"/{name}":
        return sorted(content["wrote"])
    if not isinstance(content, dict):
        return content
    if Path(name).name.startswith(CLOCKED):
        return {field: value for field, value in content.items() if field not in ("value", "values", "interval")}
    if Path(name).name == "files.json":
        return {file: about for file, about in content.items() if file not in ("evidence.json", "rows.json")}
    return _without_dates(content)


def _without_dates(content: dict[str, Any]) -> dict[str, Any]:
    content = {field: value for field, value in content.items() if field != "date"}
    if "evidence" in content:
        about = dict(content["evidence"])
        if about.get("clock"):
            content["rows"] = [{**row, "value": 0} for row in content["rows"]]
        if "verified" in about:
            about["verified"] = {field: value for field, value in about["verified"].items() if field != "date"}
        content["evidence"] = {field: value for field, value in about.items() if field != "date"}
    return content

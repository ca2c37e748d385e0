"""Evidence beside a number: by which code, versions and arithmetic it was measured, and by which code last verified.

It decides nothing: whether rows answer a question is a matter of their identity and of what they rest on
(`measurements`). It is there to be told: how many numbers the present code has made, or made again and found equal.
"""

from __future__ import annotations

import ast
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import arithmetic, sources
from .content import digest

EARLIER = "earlier"
"""Stands for the code of rows that were measured before code was told apart from what it measures."""
EDITED = "edited while it ran"
"""Stands for code that was edited after it was imported, or has no source: nobody knows what has measured."""


def code_digest(files: Mapping[str, bytes] | None = None) -> str:
    """12 hex digits of the package's code as it was imported; `EDITED` if a file was edited since.

    files   Path -> source, of other code than this process's.

    Comments, layout, docstrings of every sort, annotations and the words of errors and warnings do not count.

    >>> one = {"a.py": b"def f(x: int) -> int:\\n    'Doubles.'\\n    return 2 * x  # twice"}
    >>> code_digest(one) == code_digest({"a.py": b"def f(x):\\n    return 2*x"})
    True
    """
    if files is None:
        return _imported() if sources.IMPORTED and sources.read() == sources.IMPORTED else EDITED
    return digest({name: _parsed(text) for name, text in files.items()})


@cache
def _imported() -> str:
    return code_digest(sources.IMPORTED)


def now() -> dict[str, Any]:
    """The evidence of what is measured now: code, arithmetic, versions, processor, date."""
    return {**_stamp(code_digest()), "arithmetic": arithmetic.mode(), "python": platform.python_version(),
            "processor": processor()}


def known_code() -> str:
    """`code_digest()`, where something is to be stamped by it. Raises ValueError if it is `EDITED`."""
    code = code_digest()
    if code == EDITED:
        raise ValueError("the code was edited while it ran, so nothing is stamped as verified: run it again")
    return code


def verified(evidence: Mapping[str, Any], rows: Sequence[Mapping]) -> dict[str, Any]:
    """The same evidence with the stamp that the present code has made these rows again, and found them equal.

    Raises ValueError if the present code is not known (it was edited while it ran).
    """
    return {**evidence, "verified": {**_stamp(known_code()), "rows": digest(rows)}}


def unstamped(evidence: Mapping[str, Any], rows: Sequence[Mapping]) -> dict[str, Any]:
    """The same evidence, without its stamp if that was given to other rows, before somebody changed them.

    >>> unstamped({"code": EARLIER, "verified": {"code": "0" * 12, "rows": digest([{"value": 1.0}])}}, [{"value": 2.0}])
    {'code': 'earlier'}
    """
    is_of_these = evidence.get("verified", {}).get("rows") == digest(rows)
    return {name: value for name, value in evidence.items() if name != "verified" or is_of_these}


def is_by(evidence: Mapping[str, Any], code: str) -> bool:
    """Whether code of that digest has measured the numbers, or verified them.

    Raises ValueError for evidence whose stamps are no digest.
    """
    stamps = [evidence.get("code"), evidence.get("verified", {}).get("code", EARLIER)]
    for stamp in stamps:
        if stamp not in (EARLIER, EDITED) and not (isinstance(stamp, str) and len(stamp) == 12 and stamp.isalnum()):
            raise ValueError(f"evidence has the stamp {stamp!r}, which no code gives: verify the rows, or measure anew")
    return code != EDITED and code in stamps


def count(evidences: Iterable[Mapping[str, Any]]) -> tuple[int, int, int, str]:
    """Files of rows; those that the present code measured or verified; of the others, those outside the strict mode.

    >>> count([{"code": EARLIER, "arithmetic": "none", "date": "2026-11-28"}])
    (1, 0, 1, '2026-11-28')
    """
    evidences, code = list(evidences), code_digest()
    others = [evidence for evidence in evidences if not is_by(evidence, code)]
    loose = sum(evidence["arithmetic"] == "none" for evidence in others)
    last = max((evidence["date"] for evidence in others), default="")
    return len(evidences), len(evidences) - len(others), loose, last


def processor() -> str:
    """The machine's kind and, where it tells, the maker of its processor: "x86_64 GenuineIntel"."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    maker = next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")
    return f"{platform.machine()} {maker}".strip()


def _stamp(code: str) -> dict[str, str]:
    """Who answers for a number: code, the packages that it calls, and today."""
    return {"code": code, **{package: version(package) for package in ("torch", "transformers")},
            "date": datetime.now(UTC).date().isoformat()}


# --- code without words ---


def _parsed(text: bytes) -> Any:
    """A file's tree; of one that is no Python, and so was never imported, its text."""
    try:
        return _canonical(ast.parse(text))
    except (SyntaxError, ValueError):
        return text.decode(errors="replace")


def _canonical(node: Any) -> Any:
    """A tree as plain JSON. (Not ast.dump: what it prints for empty fields differs between versions of Python.)"""
    if isinstance(node, list):
        return [_canonical(item) for item in node if not _is_text(item)]
    if not isinstance(node, ast.AST):
        return node if isinstance(node, str | int | float | bool | None) else repr(node)
    return [type(node).__name__, {name: _canonical(value) for name, value in _fields(node)
                                  if value is not None and value != []}]


def _is_text(node: Any) -> bool:
    """Whether a statement is a string and nothing else: a docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _fields(node: ast.AST) -> Iterable[tuple[str, Any]]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment", "kind"):
            continue
        if _is_message(node, name):
            continue
        yield (name, value.func) if isinstance(node, ast.Raise) and isinstance(value, ast.Call) else (name, value)


def _is_message(node: ast.AST, field: str) -> bool:
    """Whether a field holds what a warning says."""
    return (isinstance(node, ast.Call) and field in ("args", "keywords") and isinstance(node.func, ast.Attribute)
            and node.func.attr == "warn")

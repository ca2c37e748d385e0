"""What a measurement rests on: prompts, word lists, recipes; noted by name while it is made, compared by content later.

Whoever gives out such content calls `rests_on("exam/test")`. While a study measures, the names are gathered, and its
rows are kept with a digest of each. Rows whose digests are not those of today's content no longer answer the question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_noted: ContextVar[set[str] | None] = ContextVar("noted", default=None)


def rests_on(*names: str) -> None:
    """Note that the measurement under way, if there is one, rests on the content of these names."""
    noted = _noted.get()
    if noted is not None:
        noted.update(names)


@contextmanager
def noting() -> Iterator[set[str]]:
    """Gather the names that are noted while the context lasts.

    >>> with noting() as names:
    ...     rests_on("exam/test")
    >>> names
    {'exam/test'}
    """
    names: set[str] = set()
    token = _noted.set(names)
    try:
        yield names
    finally:
        _noted.reset(token)


def digest(content: Any) -> str:
    """12 hex digits of plain JSON, whatever the order of its keys; tuples are lists.

    >>> digest({"a": (1, 2), "b": None}) == digest({"b": None, "a": [1, 2]})
    True
    """
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_digest(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits.

    >>> _ = Path("empty").write_bytes(b"")
    >>> file_digest(Path("empty"))[:8]
    'e3b0c442'
    """
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

"""The package's source as it stood when it was imported: what has measured a number, even if a file is edited since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def read() -> dict[str, bytes]:
    """Every file of code, by its path below the package, as it is on the disk now."""
    return {file.relative_to(PACKAGE).as_posix(): file.read_bytes() for file in sorted(PACKAGE.rglob("*.py"))}


IMPORTED: Mapping[str, bytes] = read()

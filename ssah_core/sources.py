"""The package's source as it stood when it was imported: what has measured a number, even if a file is edited since."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def read() -> dict[str, bytes]:
    """Every file of code, by its path below the package, as it is on the disk now; links are followed."""
    files = [Path(folder, name) for folder, _, names in os.walk(PACKAGE, followlinks=True) for name in names
             if name.endswith((".py", ".pyi")) and not name.startswith(".")]
    return {file.relative_to(PACKAGE).as_posix(): file.read_bytes() for file in sorted(files)}


IMPORTED: Mapping[str, bytes] = read()

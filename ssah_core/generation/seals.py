"""A chunk of completions carries a seal: a hidden file beside it, a digest of its bytes and of what the folder holds.

So a chunk that the disk has damaged is found and answered anew, and settings that are damaged are known by the chunks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..records import cache


def seal(file: Path, about: Mapping[str, Any]) -> None:
    """Put a chunk's seal beside it.

    >>> cache.write_json(Path("chunk-00000.json"), [{"prompt": "How?", "response": "So."}])
    >>> seal(Path("chunk-00000.json"), {"model": "a"})
    >>> is_broken(Path("chunk-00000.json"), {"model": "a"}), is_broken(Path("chunk-00000.json"), {"model": "b"})
    (False, True)
    """
    cache.write_bytes(_place(file), _digest(file, about).encode())


def is_broken(file: Path, about: Mapping[str, Any]) -> bool:
    """Whether a chunk is not as it was written; one without a seal, of earlier code, is taken as it is."""
    return _place(file).is_file() and _read(file) != _digest(file, about)


def is_sealed(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether a folder has chunks, and the seals of all say that they are of this."""
    chunks = sorted(folder.glob("chunk-*.json")) if folder.is_dir() else []
    return bool(chunks) and all(file.is_file() and _read(file) == _digest(file, about) for file in chunks)


def _place(file: Path) -> Path:
    return file.with_name(f".{file.name}.sha256")


def _read(file: Path) -> str:
    return _place(file).read_bytes().decode(errors="replace") if _place(file).is_file() else ""


def _digest(file: Path, about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode() + file.read_bytes()).hexdigest()

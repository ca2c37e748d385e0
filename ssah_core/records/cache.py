"""The artefact cache: what is built once, appears only when complete, and is found again by its settings."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from . import paths
from .content import digest


def key(settings: Mapping[str, Any]) -> str:
    """12 hex digits of the settings, whatever their order; lists and tuples are the same.

    Raises ValueError naming the setting that is not plain JSON (text, finite number, true, false, null,
    and lists and mappings of these).
    """
    return digest(plain(settings))


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON has them: lists for tuples, text for names. Raises ValueError as `key` does."""
    return {name: _plain(name, value) for name, value in settings.items()}


def _plain(name: Any, value: Any) -> Any:
    if not isinstance(name, str):
        raise ValueError(f"the name of a setting is {name!r}, but only text is allowed; rename it")
    try:
        return json.loads(json.dumps(value, sort_keys=True, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"setting {name!r} is {value!r}, which is not plain JSON ({error}); give text, finite "
                         "numbers, true, false, null, or lists and mappings of these") from None


# --- artefacts: folders that appear only when complete ---


def artefact(kind: str, settings: Mapping[str, Any], build: Callable[[Path], None],
             is_current: Callable[[Path], bool] = lambda folder: True) -> Path:
    """The folder <cache>/<kind>/<key of settings>, built first if it is not there.

    kind        What it is: letters, digits, "-", "_"; a folder of the cache.
    settings    All that decides what is built, as plain JSON (see `key`); kept in the folder as settings.json.
    build       Fills the empty folder that it is given. Whatever it raises stops the build, and nothing is left.
    is_current  Whether a folder that is there still holds what it should; where not, it is built again.

    The folder appears only when complete. Two processes never build the same one: the second waits.
    """
    folder = place(kind, settings)
    if not (is_complete(folder) and is_current(folder)):
        _sweep(folder.parent)
        with locked(folder):
            if not (is_complete(folder) and is_current(folder)):
                _build(folder, settings, build)
    return folder


def place(kind: str, settings: Mapping[str, Any]) -> Path:
    """Where `artefact` has, or would have, what these settings decide."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", kind):
        raise ValueError(f"kind is {kind!r}, but only letters, digits, '-' and '_' are allowed; "
                         "give one such as 'organism'")
    return paths.cache() / kind / key(settings)


def is_complete(folder: Path) -> bool:
    """Whether an artefact is there, whole."""
    return (folder / "settings.json").is_file()


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _build(folder: Path, settings: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    partial = _beside(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        build(partial)
        write_json(partial / "settings.json", dict(settings))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from what lies at `folder`, or wait for them, saying so after a second."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_beside(folder, "lock"))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print(f"waiting: another process is building {folder.parent.name}/{folder.name}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep(parent: Path) -> None:
    """Remove what killed runs left behind: unfinished folders that nobody is building."""
    for partial in parent.glob(".*.partial"):
        try:
            with FileLock(partial.with_suffix(".lock"), timeout=0):
                shutil.rmtree(partial, ignore_errors=True)
        except Timeout:
            pass


# --- JSON files ---


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON, sorted and indented; the file is whole or not there, and its folder is made.

    Raises ValueError if `data` is not plain JSON; NaN and infinity are not.
    """
    try:
        text = json.dumps(data, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name} cannot be written ({error}); give text, finite numbers, true, false, null, "
                         "or lists and mappings of these") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError if it is damaged, FileNotFoundError if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from None

"""The artefact cache: what is built once, appears only when complete, and is found again by its settings.

An artefact carries the size and digest of its files, so that one that the disk has damaged is not taken for whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from . import paths
from .content import digest, file_digest

SETTINGS = "settings.json"
"""In an artefact: what decides it."""
FILES = "files.json"
"""In an artefact: the size and digest of every other file. Artefacts of earlier code have none, and count."""
_SOUND: set[tuple[str, int]] = set()
"""Artefacts, by folder and inode, whose digests this process has compared."""


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

    The folder appears only when complete. Two processes never build the same one: the second waits. One whose files
    are not as they were built (`damage`) is built again, with a warning that names the file.
    """
    folder = place(kind, settings)
    if not (is_complete(folder) and is_current(folder)):
        _sweep(folder.parent)
        with locked(folder):
            if not (is_complete(folder) and is_current(folder)):
                if why := damage(folder):
                    warnings.warn(f"{why}: it is built again", stacklevel=2)
                _build(folder, settings, build)
    return folder


def place(kind: str, settings: Mapping[str, Any]) -> Path:
    """Where `artefact` has, or would have, what these settings decide."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", kind):
        raise ValueError(f"kind is {kind!r}, but only letters, digits, '-' and '_' are allowed; "
                         "give one such as 'organism'")
    return paths.cache() / kind / key(settings)


def is_complete(folder: Path) -> bool:
    """Whether an artefact is there, whole, and its files as they were built."""
    return (folder / SETTINGS).is_file() and not damage(folder)


def damage(folder: Path) -> str:
    """Which file of an artefact is not as it was built; "" if all are, or the artefact has no list of its files.

    Sizes are compared each time, digests once in a process.
    """
    if not (folder / FILES).is_file():
        return ""
    try:
        kept = read_json(folder / FILES)
        if not all(map(is_inside, kept)):
            return f"{folder / FILES} is damaged"
        wrong = next((name for name, (size, _) in kept.items() if _size(folder / name) != size), None)
        seen = str(folder), folder.stat().st_ino
        if wrong is None and seen not in _SOUND:
            wrong = next((name for name, (_, sha256) in kept.items() if file_digest(folder / name) != sha256), None)
        if wrong is None:
            _SOUND.add(seen)
    except (OSError, ValueError, TypeError, AttributeError):
        wrong = FILES
    return "" if wrong is None else f"{folder / wrong} is damaged"


def is_inside(name: str) -> bool:
    """Whether a name, read from a file, is of something below the folder that it is to be looked for in.

    >>> is_inside("records/a.json"), is_inside("../a.json"), is_inside("/a.json")
    (True, False, False)
    """
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else -1


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _build(folder: Path, settings: Mapping[str, Any], build: Callable[[Path], None]) -> None:
    partial = unfinished(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        build(partial)
        write_json(partial / SETTINGS, dict(settings))
        files = sorted(file for file in partial.rglob("*") if file.is_file())
        write_json(partial / FILES, {file.relative_to(partial).as_posix(): [_size(file), file_digest(file)]
                                     for file in files})
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


@contextmanager
def locked_if_free(folder: Path) -> Iterator[bool]:
    """Keep other processes from what lies at `folder`, without waiting: whether nobody is at work there.

    >>> with locked_if_free(Path("mine")) as free:
    ...     print(free)
    True
    """
    lock = FileLock(_beside(folder, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_busy(folder: Path) -> bool:
    """Whether a process is at work on what lies, or is to lie, at `folder`; nothing is written.

    >>> is_busy(Path("mine"))
    False
    """
    if not _beside(folder, "lock").is_file():
        return False
    try:
        with locked_if_free(folder) as free:
            return not free
    except OSError:  # a lock that this user may not open
        return True


def _sweep(parent: Path) -> None:
    """Remove what killed runs left behind: unfinished folders that nobody is building."""
    for partial in parent.glob(".*.partial"):
        with locked_if_free(finished(partial)) as free:
            if free:
                shutil.rmtree(partial, ignore_errors=True)


def finished(partial: Path) -> Path:
    """Where an unfinished folder would be, were it finished.

    >>> finished(Path("organisms/.0287a9ee3bd1.partial")).name
    '0287a9ee3bd1'
    """
    return partial.with_name(partial.name.removeprefix(".").removesuffix(".partial"))


def unfinished(folder: Path) -> Path:
    """Where an artefact is built before it is finished.

    >>> unfinished(Path("organisms/0287a9ee3bd1")).name
    '.0287a9ee3bd1.partial'
    """
    return _beside(folder, "partial")


# --- files ---


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON, sorted and indented; the file is whole or not there, and its folder is made.

    Raises ValueError if `data` is not plain JSON; NaN and infinity are not.
    """
    write_bytes(path, json_bytes(path.name, data))


def json_bytes(name: str, data: Any) -> bytes:
    """`data` as a JSON file of this name holds it. Raises ValueError as `write_json` does.

    >>> json_bytes("a.json", {"b": 1})
    b'{\\n "b": 1\\n}\\n'
    """
    try:
        text = json.dumps(data, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be written ({error}); give text, finite numbers, true, false, null, "
                         "or lists and mappings of these") from None
    return text.encode()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, which is whole or not there; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    note_standing(path)


def note_standing(path: Path) -> None:
    """Tell the notebook that this process belongs to that a file stands as it should: a line of the file that the
    environment variable SSAH_STANDING names."""
    notes = os.environ.get("SSAH_STANDING")
    if notes and Path(notes).parent.is_dir():  # not so on another machine, or after the notebook
        with open(notes, "a", encoding="utf-8") as file:  # lines of several processes do not mix
            file.write(f"{path.resolve()}\n")


LARGEST = 2 ** 28
"""Bytes of a JSON file that is read; the largest that ssah writes has a thousandth of it."""


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError if it is damaged, no file or larger than `LARGEST`, and
    FileNotFoundError if it is not there."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a folder or a device where a file is due: move it away")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is of {path.stat().st_size / 1e9:.1f} GB, but JSON is read up to "
                         f"{LARGEST / 1e9:.1f} GB: it is no file of ssah's, so move it away")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run again") from None

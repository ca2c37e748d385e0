"""The cache as a table, and its emptying: of what ssah itself wrote there, what is asked for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from . import cache
from .stored import KINDS, OTHERS, STOPPED, UNFINISHED, Stored, list_stored, look

CHOICES = ("all", UNFINISHED, *KINDS)
"""What can be picked: everything, what killed runs left, or a kind."""
DAY = 86400
WIDEST = 56
"""Signs of what a thing is of, at most, in a table."""


def select(stored: Iterable[Stored], kind: str = "all", study: str | None = None,
           older_than: float = 0) -> list[Stored]:
    """Of what `list_stored` found: that of a kind (one of `CHOICES`), of a study, and not used for so many days.

    Raises ValueError for another kind, a study that has no rows there, and what is no number of days.

    >>> select([], "organism")
    Traceback (most recent call last):
    ValueError: kind 'organism' is unknown: choose one of all, unfinished, organisms, scores, spaces, studies, ...
    """
    stored = list(stored)
    if kind not in CHOICES:
        raise ValueError(f"kind {kind!r} is unknown: choose one of {', '.join(CHOICES)}")
    if not 0 <= older_than < float("inf"):
        raise ValueError(f"older_than is {older_than}: give a number of days, 0 or more")
    names = sorted({_study(found) for found in stored if found.study})
    if study is not None and study not in names:
        way = f"choose one of {', '.join(names)}" if names else "leave it out"
        raise ValueError(f"study {study!r} has no rows in the cache: {way}")
    now = datetime.now(UTC)
    return [found for found in stored
            if kind in ("all", found.kind, found.state) and study in (None, _study(found))
            and (now - found.used).total_seconds() >= DAY * older_than]


def remove_stored(those: Iterable[Stored], folder: Path | None = None) -> list[Stored]:
    """Remove of the cache (or of `folder`) what `list_stored` found there, and return what was removed.

    What ssah did not write stays; so does what a process is at work on, and what has changed since it was listed.

    >>> about, build = {"checkpoint": "my/model"}, lambda folder: cache.write_json(folder / "space.json", {"space": ""})
    >>> _ = cache.artefact("spaces", about, build)
    >>> [stored.what for stored in remove_stored(select(list_stored(), "spaces"))]
    ['my/model']
    """
    there = {found.path: found for found in list_stored(folder)}  # no other path is removed, whatever is asked for
    return [there[asked.path] for asked in those if asked.path in there and _remove(there[asked.path])]


def is_removable(found: Stored) -> bool:
    """Whether ssah wrote it, and no process is at work on it.

    >>> any(is_removable(found) for found in list_stored() if found.state == "not by ssah")
    False
    """
    return found.state != OTHERS and not found.busy


def _remove(found: Stored) -> bool:
    if not is_removable(found):
        return False
    if found.kind in ("executed", "verify", "home"):
        shutil.rmtree(found.path) if found.path.is_dir() else found.path.unlink()
        return True
    folder = cache.finished(found.path) if found.state == UNFINISHED else found.path
    with cache.locked_if_free(folder) as free:
        now = look(found.kind, found.path) if free and found.path.exists() else None
        if now is None or now.state != found.state:
            return False
        partial = found.path if found.kind == "to-read" else cache.unfinished(folder)
        if found.path != partial:  # a removal that is stopped leaves what the next run sweeps away
            shutil.rmtree(partial, ignore_errors=True)
            os.replace(found.path, partial)
        shutil.rmtree(partial)
    return True


# -- as text -----------------------------------------------------------------------------------------------


def as_list(stored: Sequence[Stored], folder: Path) -> str:
    """What lies in the cache at `folder`, one a line, then the sums by kind and by study, all sorted by size.

    >>> as_list([], Path("nowhere"))
    'nothing that is asked for lies in the cache, nowhere'
    """
    if not stored:
        return f"nothing that is asked for lies in the cache, {folder}"
    told = leftovers(stored)
    return "\n\n".join([_table(stored), f"{_size(stored)} in {folder}" + (f"\n{told}" if told else "")])


def as_removal(those: Sequence[Stored], left: int, removed: bool) -> str:
    """What is removed, or would be; and how many others of the same choice are left.

    >>> as_removal([], 1, removed=True)
    'nothing is removed\\n1 left, which ssah did not write, or a process is at work on'
    """
    lines = [_table(those)] if those else []
    if not those:
        lines.append("nothing is removed" if removed else "there is nothing to remove")
    else:
        lines.append(f"\nremoved: {len(those)}, {_size(those)}" if removed else
                     f"\nwould remove {len(those)}, {_size(those)}: add --yes to remove them")
    if left:
        lines.append(f"{left} left, which ssah did not write, or a process is at work on")
    return "\n".join(lines)


def as_json(stored: Sequence[Stored]) -> str:
    """The same for machines: a list of objects.

    >>> as_json([])
    '[]'
    """
    return json.dumps([found.plain() for found in stored], indent=1)


def _table(stored: Sequence[Stored]) -> str:
    lines = [(found.kind, _shortened(_told(found)), in_bytes(found.size), f"{found.used:%Y-%m-%d}") for found in stored]
    parts = [_aligned([("kind", "of", "size", "last used"), *lines])]
    for title, name in (("kind", lambda found: found.kind), ("study", _study)):
        sums = _sums(stored, name)
        if sums:
            parts.append(_aligned([(f"by {title}", "number", "size", "last used"), *sums]))
    return "\n\n".join(parts)


def in_bytes(size: int) -> str:
    """
    >>> in_bytes(512_300_000), in_bytes(4096)
    ('512.3 MB', '0.0 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def leftovers(stored: Sequence[Stored]) -> str:
    """What to know of what lies there unfinished, or is not ssah's; "" where there is none.

    >>> leftovers([])
    ''
    """
    left = [found for found in stored if found.state == UNFINISHED and not found.busy]
    stopped = [found for found in stored if found.state == STOPPED and not found.busy]
    others = [found for found in stored if found.state == OTHERS]
    lines = []
    if left:
        lines.append(f"{len(left)} unfinished ({_size(left)}), of runs that were killed: "
                     "`ssah cache --empty unfinished --yes` removes them")
    if stopped:
        lines.append(f"{len(stopped)} completions ({_size(stopped)}) that stopped half-way: the same run goes on with "
                     "them")
    if others:
        lines.append(f"{len(others)} not by ssah ({_size(others)}), which it never removes: "
                     f"{', '.join(found.what for found in others[:5])}{' ...' if len(others) > 5 else ''}")
    return "\n".join(lines)


def _size(stored: Iterable[Stored]) -> str:
    return in_bytes(sum(found.size for found in stored))


def _study(found: Stored) -> str:
    """Its study, without the variant."""
    return found.study.partition("/")[0]


def _told(found: Stored) -> str:
    state = "in use" if found.busy else "" if found.state in ("whole", found.what) else found.state
    return f"{found.what} ({state})" if state else found.what


def _shortened(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[:WIDEST // 2 - 2]}...{text[-WIDEST // 2 + 1:]}"


def _sums(stored: Sequence[Stored], name: Callable[[Stored], str]) -> list[tuple[str, str, str, str]]:
    named: dict[str, list[Stored]] = {}
    for found in stored:
        if name(found):
            named.setdefault(name(found), []).append(found)
    by_size = sorted(named.items(), key=lambda item: -sum(found.size for found in item[1]))
    return [(each, str(len(those)), _size(those), f"{max(found.used for found in those):%Y-%m-%d}")
            for each, those in by_size]


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest entry; sizes to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) if n == 2 else cell.ljust(width)
                               for n, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
                     for line in lines)

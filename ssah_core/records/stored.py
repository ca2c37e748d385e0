"""What lies in the cache: what each file or folder is of, how large it is, and whether ssah wrote it.

An artefact is known by its name, which is the digest of its settings, and by the names of its files. What is not known
so, and what a link leads to, counts as somebody else's.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import cache, paths
from .cache import SETTINGS
from .row_files import DAMAGE

WHOLE, STOPPED, UNFINISHED, OTHERS = "whole", "stopped", "unfinished", "not by ssah"
"""States of what lies there: complete; completions that a run goes on with; what a killed run left; no work of ssah."""
KEY, LOCK = "[0-9a-f]{12}", re.compile(r"\..+\.lock")
_CHECKPOINT = (r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|training"
               r"|evidence)\.json|model\.safetensors|chat_template\.jinja")
FILES = {"organisms": _CHECKPOINT,
         "scores": r"(safety|utility|contrast)\.safetensors",
         "spaces": r"space\.json",
         "studies": r"rows\.json",
         "smollm": _CHECKPOINT,
         "completions": r"chunk-\d{5,}\.json|\.chunk-\d{5,}\.json\.sha256|\.\.?(settings|chunk-\d{5,})\.json"
                        r"(\.sha256)?\.[0-9a-f]{32}"}
"""Kind -> names of the files in its folders, beside those of `EVERY`; of completions, drafts and digests too."""
EVERY = r"(settings|files)\.json"
KINDS = (*FILES, "to-read", "executed", "verify", "home")
"""Folders of the cache: artefacts, what checkpoints said, also to a reader, stamps and logs of notebooks, what was
measured again, and what Jupyter keeps for a user without a home."""
STAMP, DRAFT, LOG = rf"(.+)-{KEY}\.json", rf"\.(.+)-{KEY}\.json\.[0-9a-f]{{32}}", r"([^.].*)\.log"
VERIFIED = r"figures/measurements/.+-seed\d+\.json"
HOME = r"(\.ipython|\.jupyter|\.local/share/jupyter|\.(cache|config)/matplotlib|\.cache/fontconfig)(/.+)?"
"""What comes of itself in the home below the cache."""


@dataclass(frozen=True)
class Stored:
    """One thing that lies in the cache.

    >>> list_stored(Path("nowhere"))
    []
    """

    kind: str
    """One of `KINDS`; or "other"."""
    what: str
    """What it is of: of an organism its seed, scale and stage; of rows their study, version, seed and scale ..."""
    study: str
    """Of rows, the study that measured them, with its variant; else ""."""
    size: int
    """Bytes on the disk."""
    used: datetime
    """When it was last written or, where the file system tells, read."""
    state: str
    """"whole", "stopped" (a run goes on with it), "unfinished" (of a run that was killed) or "not by ssah"."""
    busy: bool
    """Whether a process is at work on it."""
    path: Path

    def plain(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "used": self.used.isoformat(timespec="seconds"), "path": str(self.path)}


def list_stored(folder: Path | None = None) -> list[Stored]:
    """All that lies in the cache, or in another `folder`, the largest first. Links are named, and not followed.

    A cache that is not there holds nothing. Raises ValueError if it is a file, or cannot be read.

    >>> about, build = {"checkpoint": "my/model"}, lambda folder: cache.write_json(folder / "space.json", {"space": ""})
    >>> _ = cache.artefact("spaces", about, build)
    >>> [(stored.kind, stored.what, stored.state) for stored in list_stored() if stored.kind == "spaces"]
    [('spaces', 'my/model', 'whole')]
    """
    folder = paths.cache(make=False) if folder is None else folder
    try:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"the cache {folder} is a file: set SSAH_CACHE to a folder, or move that file away")
        places = sorted(folder.iterdir()) if folder.exists() else []
        found = [stored for place in places for stored in _below(place)]
    except OSError as error:
        raise ValueError(f"the cache {folder} cannot be read ({error}): set SSAH_CACHE to a folder that you may "
                         "read") from error
    return sorted(found, key=lambda stored: (-stored.size, stored.path))


def look(kind: str, path: Path) -> Stored | None:
    """What a file or folder below the folder of a kind is. None for a lock: it stays, since others may wait for it.

    >>> _ = Path("notes.txt").write_text("mine")
    >>> look("organisms", Path("notes.txt")).state
    'not by ssah'
    """
    if LOCK.fullmatch(path.name) and _is_file(path):
        return None
    known = {"completions": _completions, "to-read": _to_read, "executed": _executed, "verify": _verified,
             "home": _home}.get(kind, _artefact)
    return (None if path.is_symlink() else known(kind, path)) or _of(path, kind, path.name, OTHERS)


def _below(place: Path) -> Iterator[Stored]:
    if place.name not in KINDS or not _is_folder(place):
        yield _of(place, "other", place.name, OTHERS)
        return
    for path in sorted(place.iterdir()):
        stored = look(place.name, path)
        if stored:
            yield stored


# -- the kinds ---------------------------------------------------------------------------------------------


def _artefact(kind: str, path: Path) -> Stored | None:
    if re.fullmatch(rf"\.{KEY}\.partial", path.name) and _is_folder(path):
        return _of(path, kind, "unfinished", UNFINISHED, busy=cache.is_busy(cache.finished(path)))
    settings = _settings(kind, path)
    try:
        if settings is None or cache.key(settings) != path.name:
            return None
        what, study = _described(kind, settings)
    except DAMAGE:
        return None
    return _of(path, kind, what, WHOLE, study, cache.is_busy(path))


def _described(kind: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """What an artefact is of, and the study of rows."""
    if kind == "organisms":
        return f"seed {settings['seed']}, {settings['scale']}, {settings['stage']}", ""
    if kind == "studies":
        checkpoint = settings["settings"].get("checkpoints", {}).get("aligned", "")
        of = [f"{settings['study']} v{settings['version']}", f"seed {settings['seed']}", settings["scale"], checkpoint]
        return ", ".join(filter(None, of)), str(settings["study"])
    if kind == "scores":
        way, weights = settings["way"], settings["weights"][:8]
        return f"{way['criterion']} on {way['tokens']}, {settings['rounds']} rounds, weights {weights}", ""
    if kind == "smollm":
        made = [f"seed {settings['seed']}", settings["method"]] if "method" in settings else []
        return ", ".join([*made, settings["stage"]]), ""
    return str(settings["checkpoint"]), ""


def _completions(kind: str, path: Path) -> Stored | None:
    return _said(kind, path) if re.fullmatch(rf".+-{KEY}", path.name) else None


def _said(kind: str, path: Path) -> Stored | None:
    """Completions, whatever their folder is called."""
    settings = _settings("completions", path)
    if settings is None or "questions" not in settings:
        return None
    n, chunk = settings.get("n"), settings.get("chunk")
    if type(n) is not int or type(chunk) is not int or chunk < 1:
        return None
    there = len(list(path.glob("chunk-*.json"))) * chunk
    what = f"{re.sub(f'-{KEY}$', '', path.name)}, {min(n, there)} of {n} prompts"
    return _of(path, kind, what, WHOLE if there >= n else STOPPED, busy=cache.is_busy(path))


def _to_read(kind: str, path: Path) -> Stored | None:
    """What a checkpoint says in every arm, completions each, for a reader (`ssah_core.studies.reader`)."""
    if not re.fullmatch(KEY, path.name) or not _is_folder(path):
        return None
    arms = [_said(kind, arm) for arm in sorted(path.iterdir()) if not (LOCK.fullmatch(arm.name) and _is_file(arm))]
    known = [arm for arm in arms if arm]
    if not known or len(known) < len(arms):
        return None
    state = STOPPED if any(arm.state == STOPPED for arm in known) else WHOLE
    busy = cache.is_busy(path) or any(arm.busy for arm in known)
    return _of(path, kind, ", ".join(arm.path.name for arm in known), state, busy=busy)


def _executed(kind: str, path: Path) -> Stored | None:
    """A stamp, one whose writing was stopped, or a kernel's log: they go by the name of their notebook, as locks do."""
    found = next(filter(None, (re.fullmatch(form, path.name) for form in (STAMP, DRAFT, LOG))), None)
    locks = list(path.parent.glob(f".{glob.escape(found[1])}-*.lock")) if found else []
    if not locks or not _is_file(path):
        return None
    if path.suffix == ".json" and not _is_stamp(path):
        return None
    busy = any(cache.is_busy(lock.with_name(lock.name[1:-len(".lock")])) for lock in locks)
    return _of(path, kind, path.name, UNFINISHED if path.name.startswith(".") else WHOLE, busy=busy)


def _is_stamp(path: Path) -> bool:
    try:
        stamp = cache.read_json(path)
    except DAMAGE:
        return False
    return isinstance(stamp, dict) and set(stamp) == {"result", "wrote"}


def _verified(kind: str, path: Path) -> Stored | None:
    """What `make verify` by one code leaves: a cache of its own, and rows."""
    if not re.fullmatch(rf"{KEY}-torch.+", path.name) or not _is_folder(path):
        return None
    rows = [file for file in _walk(path) if not file.is_relative_to(path / "cache") and not _is_folder(file)]
    if not all(_is_file(file) and re.fullmatch(VERIFIED, file.relative_to(path).as_posix()) for file in rows):
        return None
    inside = list_stored(path / "cache")
    if any(stored.state == OTHERS for stored in inside):
        return None
    return _of(path, kind, path.name, WHOLE, busy=any(stored.busy for stored in inside))


def _home(kind: str, path: Path) -> Stored | None:
    """What kernels keep in the home that a user without one is given (`ssah_core.runner.kernel`)."""
    ends = [each for each in _walk(path) if not _is_folder(each) or not any(each.iterdir())]
    if not ends or not all((_is_file(end) or _is_folder(end)) and
                           re.fullmatch(HOME, end.relative_to(path.parent).as_posix()) for end in ends):
        return None
    locks = (path.parents[1] / "executed").glob(".*.lock")
    return _of(path, kind, path.name, WHOLE,
               busy=any(cache.is_busy(lock.with_name(lock.name[1:-len(".lock")])) for lock in locks))


# -- files -------------------------------------------------------------------------------------------------


def _settings(kind: str, path: Path) -> Mapping[str, Any] | None:
    """The settings of a folder that holds files of its kind alone; else None."""
    if not _is_folder(path):
        return None
    if not all(re.fullmatch(f"{EVERY}|{FILES[kind]}", file.name) and _is_file(file) for file in path.iterdir()):
        return None
    try:
        settings = cache.read_json(path / SETTINGS)
    except DAMAGE:
        return None
    return settings if isinstance(settings, dict) else None


def _of(path: Path, kind: str, what: str, state: str, study: str = "", busy: bool = False) -> Stored:
    kept = {file: file.lstat() for file in (path, *_walk(path))}
    read = [found.st_atime for file, found in kept.items()  # but for what a listing itself reads: settings and stamps
            if stat.S_ISREG(found.st_mode) and file.name != SETTINGS and kind != "executed"]
    used = max([found.st_mtime for found in kept.values()] + read)
    size = sum(512 * getattr(found, "st_blocks", -(-found.st_size // 512)) for found in kept.values())
    return Stored(kind, _printable(what), _printable(study), size, datetime.fromtimestamp(used, UTC), state, busy, path)


def _walk(path: Path) -> list[Path]:
    """All that lies below a folder. Links are named, and not followed."""
    if not _is_folder(path):
        return []
    return [Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files)]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _printable(text: str) -> str:
    """Without signs that would steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)

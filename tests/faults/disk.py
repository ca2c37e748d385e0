"""A disk that is full, ten times, each time a little later; and a cache that cannot be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .compare import differences, torn
from .runs import Ended, Place
from .tell import Outcome, tell

POINTS = 10
FULL, READ_ONLY = "error: no space is left for ", "is out of reach (Read-only file system)"


def full_disk(place: Place, whole: Path) -> list[Outcome]:
    """Run in a small file system that is enlarged whenever it is full; at the end there is room enough."""
    why = _cannot_mount(place)
    if why:
        tell(f"passed over: {why}")
        return [Outcome("full disk", f"passed over, since {why}", 0, 0)]
    needed = _size(whole)
    lost: list[str] = []
    try:
        for n in range(POINTS):
            _mount(place, int(needed * (n + 0.5) / POINTS), is_new=n == 0)
            ended = place.run()
            wrong = _wrong(ended, FULL) + torn(place.folder, whole)
            tell(f"room for {(n + 0.5) / POINTS:.0%}: {ended.last}{f'; lost: {wrong}' if wrong else ''}")
            lost += [f"{n}: {each}" for each in wrong]
        _mount(place, needed * 4, is_new=False)
        ended = place.run()
        left = differences(place.folder, whole)
        tell(f"with room: it ended with {ended.code}, and differs in {left or 'nothing'}")
        refused = _read_only(place)
    finally:
        subprocess.run(["umount", str(place.folder)], check=False)
    return [Outcome("full disk", "points", POINTS, len({each.split(":")[0] for each in lost}), lost),
            Outcome("full disk", "at the end, with room", 1, int(bool(left)), left), refused]


def _read_only(place: Place) -> Outcome:
    """Everything is there; the cache says no to what is new."""
    shutil.rmtree(place.cache / "executed")
    subprocess.run(["mount", "-o", "remount,ro", str(place.folder)], check=True)
    ended = place.run()
    tell(f"read-only: {ended.last}")
    wrong = _wrong(ended, READ_ONLY)
    return Outcome("read-only cache", "one sentence", 1, int(bool(wrong)), wrong)


def _wrong(ended: Ended, sentence: str) -> list[str]:
    """What is not as it should be of a run that had no room: it ends by one sentence."""
    is_told = sentence in ended.last and "Traceback" not in ended.errors
    return [] if ended.code == 1 and is_told else [f"ended with {ended.code}: {ended.errors[-400:]}"]


def _cannot_mount(place: Place) -> str:
    place.clear()
    place.folder.mkdir(parents=True)
    if not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("mount"):
        return "only root may mount a file system"
    try:
        _mount(place, 1 << 20, is_new=True)
        subprocess.run(["umount", str(place.folder)], check=True)
    except subprocess.CalledProcessError:
        return "no file system can be mounted here"
    return ""


def _mount(place: Place, size: int, is_new: bool) -> None:
    kind = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"] if is_new else ["-o", f"remount,size={size}"]
    subprocess.run(["mount", *kind, str(place.folder)], check=True, capture_output=True)


def _size(folder: Path) -> int:
    """Bytes that a folder takes in a file system of pages."""
    page = 4096
    return sum(-(-file.lstat().st_size // page) * page for file in folder.rglob("*"))

"""Where a run of one's own may go: to a folder that is new, empty, or of an earlier run, and nowhere near what is
committed."""

from __future__ import annotations

from pathlib import Path

from ..records import paths

MARK = ".ssah-run"
"""An empty file in the folder of every run, there before anything else."""


def check_place(folder: Path) -> None:
    """Raise ValueError if a run in this folder might write over what is committed, or over somebody's files.

    >>> check_place(paths.notebooks() / "mine")
    Traceback (most recent call last):
    ValueError: --output is '...mine', where a run would write over what is committed: name a folder of its own, ...
    """
    place, root = folder.resolve(), paths.root().resolve()
    committed = [paths.notebooks().resolve(), paths.committed().resolve()]
    if root.is_relative_to(place) or any(place.is_relative_to(each) or each.is_relative_to(place)
                                         for each in committed):
        raise ValueError(f"--output is {str(folder)!r}, where a run would write over what is committed: name a folder "
                         "of its own, such as runs/mine")
    if folder.is_dir() and any(folder.iterdir()) and not _is_run(folder):
        raise ValueError(f"--output is {str(folder)!r}, which holds files, but no run: name a new folder, or an empty "
                         "one, so that nothing is lost")


def mark(folder: Path) -> None:
    """Make the folder of a run, if need be, and mark it as one.

    >>> mark(Path("mine"))
    >>> check_place(Path("mine"))
    """
    if not (folder / MARK).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()


def _is_run(folder: Path) -> bool:
    """Whether a run was there. Those of earlier code have no mark, but rows; the repository's own are registered."""
    figures = folder / "figures"
    return (folder / MARK).is_file() or (figures / "measurements").is_dir() and not (
        figures / paths.registration().name).is_file()

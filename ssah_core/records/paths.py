"""Where things lie: the repository, the cache of large artefacts, the figures, the notebooks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path


def root() -> Path:
    """The repository: the nearest folder above this package, else above the working folder, that holds
    pyproject.toml and notebooks/. Where there is none (a plain install), the working folder."""
    for start in (Path(__file__).resolve().parent, Path.cwd()):
        for folder in (start, *start.parents):
            if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
                return folder
    return Path.cwd()


def cache(make: bool = True) -> Path:
    """Folder of models and other large artefacts: SSAH_CACHE, else the platform's cache folder. Made if absent.

    Raises ValueError if it cannot be made (with `make`), as where there is no home folder to write to.
    """
    return _folder("SSAH_CACHE", lambda: user_cache_path("ssah", appauthor=False), make)


def figures() -> Path:
    """Folder of figures and the records they are drawn from: SSAH_FIGURES, else figures/. Made if absent.

    Raises ValueError if it cannot be made.
    """
    return _folder("SSAH_FIGURES", committed)


def committed() -> Path:
    """Folder of the figures, records and measurements that the repository ships, whatever SSAH_FIGURES says."""
    return root() / "figures"


def registration() -> Path:
    """The registration of the primary claims, which the repository ships."""
    return committed() / "registration.json"


def notebooks() -> Path:
    """Folder of the numbered notebooks."""
    return root() / "notebooks"


def _folder(variable: str, default: Callable[[], Path], make: bool = True) -> Path:
    chosen = os.environ.get(variable)
    try:
        # A relative path counts from the repository: notebooks and the command line work in different folders.
        folder = root() / Path(chosen or default()).expanduser()
        if make:
            folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home folder
        given = repr(chosen) if chosen else "not set"
        raise ValueError(f"{variable} is {given}, and its folder cannot be made ({error}): set {variable} to a folder "
                         "that you can write to") from None
    return folder

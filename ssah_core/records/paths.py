"""Where things lie: the repository, the cache of large artefacts, the figures, the notebooks."""

from __future__ import annotations

import os
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


def cache() -> Path:
    """Folder of models and other large artefacts: SSAH_CACHE, else the platform's cache folder. Made if absent."""
    return _folder("SSAH_CACHE", user_cache_path("ssah", appauthor=False))


def figures() -> Path:
    """Folder of figures and the records they are drawn from: SSAH_FIGURES, else figures/. Made if absent."""
    return _folder("SSAH_FIGURES", root() / "figures")


def notebooks() -> Path:
    """Folder of the numbered notebooks."""
    return root() / "notebooks"


def _folder(variable: str, default: Path) -> Path:
    # A relative path counts from the repository: notebooks and the command line work in different folders.
    folder = root() / Path(os.environ.get(variable) or default).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder

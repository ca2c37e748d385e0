"""What every test has: no window for figures, no progress bars; and a fresh cache for those that ask."""

import os
from pathlib import Path

import pytest

# Read when matplotlib and tqdm are imported, so set before any test module is.
os.environ["MPLBACKEND"] = "agg"
os.environ["TQDM_DISABLE"] = "1"
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # which share the cores: more threads than those get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and an empty folder for figures beside it."""
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory):
    """A tiny aligned organism on the table, with a cache for all tests of a file."""
    from ssah_core.studies.subject import Subject  # slow to import, and few tests need it

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSAH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Subject.load(0, "tiny")


@pytest.fixture
def loaded(subject, monkeypatch: pytest.MonkeyPatch):
    """The same, and what every study loads."""
    monkeypatch.setattr(type(subject), "load", classmethod(lambda cls, seed, scale, *args, **more: subject))
    return subject

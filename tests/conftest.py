"""What every test has: the portable arithmetic, no window for figures, no progress bars; and what tests share."""

import os
from pathlib import Path

import pytest

from ssah_core import arithmetic

os.environ.update(arithmetic.PORTABLE)  # before torch is imported, which reads it once

# Read when matplotlib and tqdm are imported, so set before any test module is.
os.environ["MPLBACKEND"] = "agg"
os.environ["TQDM_DISABLE"] = "1"
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # which share the cores: more threads than those get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))


@pytest.hookimpl(tryfirst=True)  # before -m reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that look at the tiny run take minutes."""
    for item in items:
        if "tiny_run" in getattr(item, "fixturenames", ()):
            item.add_marker("notebooks")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory):
    """Notebooks at tiny scale, from an empty cache and without records: `tiny_run("03_label_units")` runs one, when it
    is first asked for, and gives its path; what all wrote lies below `tiny_run.figures`. Tests that ask for it stand in
    test_notebooks.py: each process of xdist has a session of its own, and takes whole files."""
    from tiny_run import TinyRun  # slow to import, and few tests need it

    return TinyRun(tmp_path_factory.mktemp("tiny"))


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

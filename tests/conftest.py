"""What every test has: no window for figures, no progress bars; and a fresh cache for those that ask."""

import os
from pathlib import Path

import pytest

# Read when matplotlib and tqdm are imported, so set before any test module is.
os.environ["MPLBACKEND"] = "agg"
os.environ["TQDM_DISABLE"] = "1"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and an empty folder for figures beside it."""
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "cache"

"""Chromium, and a JupyterLab that serves a copy of the notebooks at tiny scale."""

import os
import shutil

import pytest

from ssah_core.records import paths

from .jupyter import Lab, put_notebooks

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
SHOTS = paths.root() / "runs" / "browser"
"""Where screenshots go, to be looked at."""


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by playwright; a failure where there is none, since these tests are asked for by name."""
    from playwright.sync_api import sync_playwright

    place = os.environ.get("SSAH_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not place:
        pytest.fail("no Chromium is here: apt install chromium, or name one by SSAH_CHROMIUM")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=place, headless=True, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab over a copy of notebooks and exercises, each at tiny scale and without outputs."""
    folder = tmp_path_factory.mktemp("lab")
    put_notebooks(folder / "notebooks")
    with Lab(folder) as running:
        yield running

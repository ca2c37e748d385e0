"""Every notebook runs from top to bottom at tiny scale, with no records and an empty cache."""

import pytest
from tiny_run import NOTEBOOKS, TinyRun


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_runs_at_tiny_scale(notebook: str, tiny_run: TinyRun):
    assert tiny_run(notebook).is_file()

"""Every notebook runs from top to bottom at tiny scale, with no records and an empty cache, and measures what it did.

All tests of the tiny run stand here: a process of xdist takes whole files, and has a tiny run of its own.
"""

import pytest
from test_golden import FILES, compare, here
from tiny_run import NOTEBOOKS, TinyRun

from ssah_core.records.row_files import read_rows


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_runs_at_tiny_scale(notebook: str, tiny_run: TinyRun):
    assert tiny_run(notebook).is_file()


def test_the_tiny_run_gives_the_golden_rows(tiny_run: TinyRun):
    here(read_rows(next(iter(FILES.values()))))
    for notebook in NOTEBOOKS:
        tiny_run(notebook)
    for name, file in FILES.items():
        found = read_rows(tiny_run.figures / "measurements" / name / file.name)
        golden = read_rows(file)
        assert found, f"the tiny run has no rows of {name}"
        assert (found["identity"], found["rests_on"]) == (golden["identity"], golden["rests_on"]), name
        compare(found["rows"], golden["rows"], name)

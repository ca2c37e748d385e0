"""Every notebook runs from top to bottom at tiny scale, with no records and an empty cache, and measures what it did.

All tests of the tiny run stand here: a process of xdist takes whole files, and has a tiny run of its own.
"""

import pytest
from test_golden import FILES, compare, here
from tiny_run import NOTEBOOKS, TinyRun

from ssah_core.records.row_files import read_rows
from ssah_core.runner import execute
from ssah_core.runner.kernel import environment
from ssah_core.runner.parameters import read_parameters
from ssah_core.runner.run_notebook import run_notebook


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_runs_at_tiny_scale(notebook: str, tiny_run: TinyRun):
    assert tiny_run(notebook).is_file()


@pytest.mark.parametrize("notebook", [stem for stem, file in NOTEBOOKS.items()
                                      if {"seeds", "few"} <= set(read_parameters(file))])
def test_what_is_secondary_may_be_of_other_organisms(notebook: str, tiny_run: TinyRun):
    tiny_run(notebook)
    asked = execute.common_parameters(NOTEBOOKS[notebook], seeds=[0], scale="tiny")
    others = {name: [1] for name in ("few", "fewer") if name in asked}  # as a run of one's own has them
    with environment(SSAH_CACHE=str(tiny_run.folder / "cache"), SSAH_FIGURES=str(tiny_run.folder / "others")):
        run_notebook(NOTEBOOKS[notebook], asked | others, tiny_run.folder / "others" / f"{notebook}.ipynb")


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

"""Every notebook runs from top to bottom at tiny scale, with no records and a cache that is empty at first."""

from pathlib import Path

import pytest

from ssah_core import execute, paths

NOTEBOOKS = sorted(notebook for notebook in paths.notebooks().rglob("[0-9][0-9]_*.ipynb")
                   if ".ipynb_checkpoints" not in notebook.parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one cache for all notebooks, so that each builds on what the ones before it have built."""
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSAH_CACHE", str(folder / "cache"))
        patch.setenv("SSAH_FIGURES", str(folder / "figures"))
        yield folder


@pytest.mark.notebooks
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs_at_tiny_scale(notebook: Path, folder: Path):
    parameters = execute.common_parameters(notebook, seeds=[0], scale="tiny")
    output = folder / notebook.relative_to(paths.notebooks())
    execute.run_notebook(notebook, parameters, output)
    assert output.is_file()

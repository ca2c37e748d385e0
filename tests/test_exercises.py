"""Exercises: each stub fails its check with a hint, each near miss with its own; solutions are right on fresh inputs.

All cells run in this process, in the order of the notebook; the shipped organism is all that they load.
"""

import contextlib
import io

import nbformat
import pytest

from ssah_core.checks import __main__ as command
from ssah_core.checks import exercises
from ssah_core.records import paths

NOTEBOOKS = sorted((paths.notebooks() / "exercises").glob("[0-9][0-9]*.ipynb"))
IDS = [notebook.stem for notebook in NOTEBOOKS]


def read(notebook) -> nbformat.NotebookNode:
    return nbformat.read(notebook, as_version=4)


def run(nb) -> list[str]:
    """Run a notebook's code; returns what each check printed."""
    names, said = {"__name__": "__main__"}, []
    for cell in nb.cells:
        if cell.cell_type == "code":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(cell.source, "<cell>", "exec"), names)  # noqa: S102
            if exercises.tagged(cell, "check"):
                said.append(out.getvalue().strip())
    return said


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSAH_CHECK_SEED", "1")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=IDS)
def test_it_has_three_to_five_exercises_with_level_importance_and_minutes(notebook):
    nb = read(notebook)
    stubs = [cell for cell in nb.cells if exercises.tagged(cell, "stub")]
    heads = [cell.source for cell in nb.cells if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    assert 3 <= len(stubs) == len(heads) <= 5
    for head in heads:
        assert "*Level:* " in head and "*Importance:* " in head and "*Minutes:* " in head, head
    assert all(len(stub.metadata.get("near_misses", ())) >= 2 for stub in stubs)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=IDS)
def test_every_stub_fails_with_a_hint(notebook):
    said = run(read(notebook))
    assert said and all(line.startswith("not yet: ") and len(line) > 25 for line in said), said


@pytest.mark.parametrize("seed", ["2", "3"])
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=IDS)
def test_every_solution_is_right_on_fresh_inputs(notebook, seed, monkeypatch):
    monkeypatch.setenv("SSAH_CHECK_SEED", seed)
    assert set(run(exercises.solved(read(notebook)))) == {"right"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=IDS)
def test_every_near_miss_fails_with_its_own_hint(notebook):
    nb = read(notebook)
    for at, cell in enumerate(nb.cells):
        for miss in cell.metadata.get("near_misses", ()) if exercises.tagged(cell, "stub") else ():
            wrong = exercises.solved(nb)
            wrong.cells[at].source = miss["code"]
            number = sum(exercises.tagged(before, "stub") for before in nb.cells[:at])
            said = run(wrong)[number]
            assert said.startswith("not yet: ") and miss["hint"] in said, (cell.source, miss, said)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=IDS)
def test_a_students_notebook_has_no_solution_in_it(notebook):
    nb = exercises.without_solutions(read(notebook))
    text = nbformat.writes(nb)
    assert "near_misses" not in text and not any(exercises.tagged(cell, "solution") for cell in nb.cells)
    assert [cell.source for cell in nb.cells if exercises.tagged(cell, "stub")]


def test_students_work_is_never_overwritten(tmp_path):
    source = tmp_path / "exercises"
    source.mkdir()
    text = nbformat.v4.new_markdown_cell("[00](../00.ipynb)")
    nbformat.write(nbformat.v4.new_notebook(cells=[text]), source / "00.ipynb")
    files = exercises.write_student(source, tmp_path / "mine" / "student")
    assert read(files[0]).cells[0].source == "[00](../../00.ipynb)"
    files = exercises.write_student(source, tmp_path / "student")
    files[0].write_text("mine")
    with pytest.raises(ValueError, match="may be somebody's work"):
        exercises.write_student(source, tmp_path / "student")
    assert files[0].read_text() == "mine"


def test_the_command_writes_once_and_then_says_why_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.paths, "notebooks", lambda: tmp_path)
    assert command.main([]) == 2 and "has no exercises" in capsys.readouterr().err
    (tmp_path / "exercises").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "exercises" / "00.ipynb")
    assert command.main([]) == 0 and "student: 1 notebooks" in capsys.readouterr().out
    assert command.main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: student is there already") and said.count("\n") == 1


def test_a_teacher_has_a_folder_of_solutions_and_students_have_none_in_theirs(tmp_path, capsys):
    assert command.main(["solved", "--solved"]) == 0 and "notebooks of exercises, solved; " in capsys.readouterr().out
    written = sorted((tmp_path / "solved").iterdir())
    assert [file.name for file in written] == [notebook.name for notebook in NOTEBOOKS]
    for file, notebook in zip(written, NOTEBOOKS, strict=True):
        code, right = ([cell.source for cell in nb.cells if cell.cell_type == "code"]
                       for nb in (read(file), exercises.solved(read(notebook))))
        assert code == right and "near_misses" not in file.read_text(encoding="utf-8")
    assert command.main(["handed"]) == 0
    assert not any(exercises.tagged(cell, "solution") for cell in read(tmp_path / "handed" / "00.ipynb").cells)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=IDS)
def test_no_hint_names_a_figure_by_its_file(notebook):
    figures = {file.stem for file in (paths.root() / "figures").glob("*.png")}
    assert not [name for name in figures if name in notebook.read_text(encoding="utf-8")]


def test_a_stub_without_a_solution_is_refused():
    stub = nbformat.v4.new_code_cell("x = ...", metadata={"tags": ["stub"]})
    with pytest.raises(ValueError, match="1 stubs and 0 solutions"):
        exercises.solved(nbformat.v4.new_notebook(cells=[stub]))

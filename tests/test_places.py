"""A run of one's own goes where nothing can be lost: not over what is committed, nor among somebody's files."""

import pytest
from test_execute import content, make, project  # noqa: F401

from ssah_core.records import paths
from ssah_core.runner import execute


@pytest.mark.parametrize("place", [".", "notebooks", "notebooks/mine", "figures", "figures/records", "..", "/",
                                   "runs/..", "runs/../notebooks", "link"])
def test_over_what_is_committed_no_run_begins(project, tmp_path, capsys, place):  # noqa: F811
    make(project[0], "1")
    (tmp_path / "link").symlink_to(project[0], target_is_directory=True)
    before = content(tmp_path)
    assert execute.main(["--output", place]) == 2
    said = capsys.readouterr().err
    assert "where a run would write over what is committed: name a folder of its own, such as runs/mine\n" in said
    assert content(tmp_path) == before and project[1] == []


def test_no_run_begins_where_a_variable_names_what_is_committed(project, tmp_path, capsys, monkeypatch):  # noqa: F811
    make(project[0], "1")
    for place in (paths.committed(), paths.committed() / "mine"):
        monkeypatch.setenv("SSAH_FIGURES", str(place))
        assert execute.main(["--output", "mine"]) == 2 and project[1] == []
        assert "where a run would write over what is committed: unset it" in capsys.readouterr().err


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


@pytest.mark.parametrize("names", [
    ["chapter.tex"], ["figures/a.png"], ["00_try.ipynb"], ["paper_repro.md"],
    ["figures/measurements/losses/organism-seed0.json", "figures/registration.json", "paper_repro.md"]])
def test_a_folder_that_holds_no_run_stays_as_it_is(project, tmp_path, capsys, names):  # noqa: F811
    make(project[0], "1")
    put(tmp_path / "mine", *names)
    before = content(tmp_path)
    assert execute.main(["--output", "mine"]) == 2
    assert "which holds files, but no run: name a new folder, or an empty one" in capsys.readouterr().err
    assert content(tmp_path) == before and project[1] == []


@pytest.mark.parametrize("names", [[], ["figures/measurements/losses/organism-seed1.json", "notes.txt"]])
def test_an_empty_folder_and_a_run_of_earlier_code_are_taken(project, tmp_path, names):  # noqa: F811
    make(project[0], "1")
    (tmp_path / "mine").mkdir()
    put(tmp_path / "mine", *names)
    assert execute.main(["--output", "mine"]) == 0 == execute.main(["--output", "mine"])
    assert (tmp_path / "mine" / "00_try.ipynb").is_file()


def test_a_run_is_marked_before_anything_else_so_that_it_goes_on_wherever_it_stopped(project, tmp_path,  # noqa: F811
                                                                                    monkeypatch):
    make(project[0], "1")

    def stops(*given):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(execute, "raise_organism", stops)
        assert execute.main(["--output", "mine"]) == 130
    assert list(content(tmp_path / "mine")) == [".ssah-run"]
    with monkeypatch.context() as patch:
        patch.setattr(execute, "bring_up_to_date", lambda *given: paths.figures() and stops())
        assert execute.main(["--output", "mine"]) == 130
    assert execute.main(["--output", "mine"]) == 0


def test_to_publish_marks_nothing(project):  # noqa: F811
    make(project[0], "1")
    assert execute.main(["--publish"]) == 0
    assert [file.name for file in project[0].iterdir()] == ["00_try.ipynb"]

"""Folders: found from anywhere, moved by the environment at the moment of the call."""

from pathlib import Path

from ssah_core.records import paths

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_repository_is_found_from_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.root() == REPOSITORY
    assert paths.notebooks() == REPOSITORY / "notebooks"


def test_without_a_repository_the_working_folder_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "elsewhere" / "ssah_core" / "paths.py"))
    monkeypatch.chdir(tmp_path)
    assert paths.root() == tmp_path
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "deep" / "notebooks").mkdir()
    (tmp_path / "deep" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "deep" / "down")
    assert paths.root() == tmp_path / "deep"


def test_the_environment_is_read_at_call_time_and_folders_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "a" / "b"))
    assert paths.cache() == tmp_path / "a" / "b" and paths.cache().is_dir()
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "c"))
    assert paths.cache() == tmp_path / "c"


def test_an_empty_variable_is_no_folder(monkeypatch):
    monkeypatch.setenv("SSAH_FIGURES", "")
    assert paths.figures() == REPOSITORY / "figures"


def test_a_relative_folder_is_the_same_from_every_working_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    monkeypatch.setenv("SSAH_CACHE", "mine")
    assert paths.cache() == tmp_path / "mine"

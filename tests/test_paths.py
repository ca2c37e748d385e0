"""Folders: found from anywhere, moved by the environment at the moment of the call."""

from pathlib import Path

import pytest

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


def test_a_chosen_cache_needs_no_home(tmp_path, monkeypatch):
    def no_home(*args, **options):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(paths, "user_cache_path", no_home)
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "mine"))
    assert paths.cache() == tmp_path / "mine"
    monkeypatch.delenv("SSAH_CACHE")
    with pytest.raises(ValueError, match="SSAH_CACHE is not set, and its folder cannot be made .*: set SSAH_CACHE"):
        paths.cache()


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "file" / "figures"))
    with pytest.raises(ValueError, match="SSAH_FIGURES is '.*figures', and its folder cannot be made"):
        paths.figures()


def test_what_is_committed_lies_in_the_repository_wherever_figures_go(tmp_path, monkeypatch):
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path))
    assert paths.committed() == REPOSITORY / "figures"

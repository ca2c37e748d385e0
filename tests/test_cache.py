"""The artefact cache: keys that change with the code, folders that are whole or absent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssah_core.records import cache as store
from ssah_core.records import paths

BUILDER = """
import sys, time
from pathlib import Path
from ssah_core.records import cache

def build(folder):
    with open(sys.argv[1], "a") as log:
        log.write("build\\n")
    (folder / "half").write_text("half")
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    (folder / "whole").write_text("whole")

print(cache.artefact("thing", {"seed": 0}, build))
"""


# --- keys ---


def test_keys_do_not_depend_on_order_but_on_every_value():
    assert store.key({"a": 1, "b": (1, 2)}) == store.key({"b": [1, 2], "a": 1})
    keys = [store.key({"a": value}) for value in (1, 1.5, "1", True, None, [1], {"b": 1})]
    assert len(set(keys)) == len(keys) and all(len(key) == 12 for key in keys)


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, float("nan"), [float("inf")], {"deep": object()}])
def test_a_setting_that_is_not_json_is_named(value):
    with pytest.raises(ValueError, match="setting 'rate'"):
        store.key({"fine": 1, "rate": value})


def test_a_setting_whose_name_is_not_text_is_refused():
    with pytest.raises(ValueError, match="name of a setting is 3"):
        store.key({3: 1})


# --- artefacts ---


def test_an_artefact_is_built_once(cache):
    calls = []
    first = store.artefact("thing", {"seed": 0}, lambda folder: calls.append((folder / "x").write_text("x")))
    again = store.artefact("thing", {"seed": 0}, lambda folder: calls.append("again"))
    other = store.artefact("thing", {"seed": 1}, lambda folder: None)
    assert first == again != other and len(calls) == 1
    assert first.parent == cache / "thing" and (first / "x").read_text() == "x"
    assert store.read_json(first / "settings.json") == {"seed": 0}


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_build_that_stops_leaves_nothing(cache, stop):
    def build(folder):
        (folder / "half").write_text("half")
        raise stop

    with pytest.raises(stop):
        store.artefact("thing", {"seed": 0}, build)
    assert [file.name for file in (cache / "thing").iterdir() if not file.name.endswith(".lock")] == []
    assert (store.artefact("thing", {"seed": 0}, lambda folder: None) / "settings.json").is_file()


def test_a_folder_that_lost_its_settings_is_built_again(cache):
    folder = store.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("old"))
    (folder / "settings.json").unlink()
    store.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("new"))
    assert (folder / "x").read_text() == "new"


@pytest.mark.parametrize("kind", ["", "a/b", "../a", ".hidden"])
def test_a_kind_that_is_no_folder_name_is_refused(cache, kind):
    with pytest.raises(ValueError, match="kind is"):
        store.artefact(kind, {}, lambda folder: None)


def _start(tmp_path: Path) -> subprocess.Popen:
    """A process that builds, says so in a log, and goes on when a file "go" appears."""
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(tmp_path / "log"), str(tmp_path / "go")],
                            cwd=paths.root(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _wait_for(file: Path, process: subprocess.Popen) -> None:
    while not file.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def test_a_killed_build_leaves_no_artefact_and_is_cleared_by_the_next(cache, tmp_path):
    process = _start(tmp_path)
    _wait_for(tmp_path / "log", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    left = [file.name for file in (cache / "thing").iterdir() if file.is_dir()]
    assert len(left) == 1 and left[0].endswith(".partial")
    store.artefact("thing", {"seed": 1}, lambda folder: None)
    assert not list((cache / "thing").glob(".*.partial"))
    built = store.artefact("thing", {"seed": 0}, lambda folder: (folder / "whole").write_text("whole"))
    assert sorted(file.name for file in built.iterdir()) == ["files.json", "settings.json", "whole"]


def test_two_processes_build_once_and_the_second_waits(cache, tmp_path):
    first = _start(tmp_path)
    _wait_for(tmp_path / "log", first)
    store.artefact("thing", {"seed": 1}, lambda folder: None)  # must not sweep away what is being built
    second = _start(tmp_path)
    assert second.stderr.readline().startswith("waiting: another process is building thing/")
    (tmp_path / "go").touch()
    (path, errors), (same_path, _) = first.communicate(), second.communicate()
    assert path == same_path and (Path(path.strip()) / "whole").is_file()
    assert (tmp_path / "log").read_text() == "build\n" and errors == ""


def test_what_is_not_current_is_built_again(cache):
    folder = store.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("old"))
    is_new = lambda folder: (folder / "x").read_text() == "new"  # noqa: E731
    again = store.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("new"), is_new)
    store.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("newer"), is_new)
    assert again == folder and (folder / "x").read_text() == "new"


# --- damaged artefacts ---


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    middle = len(content) // 2
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes({"cut": content[:middle], "empty": b"", "longer": content + b" ",
                          "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:]}[how])


def built(name: str) -> Path:
    def build(folder: Path) -> None:
        (folder / "deep").mkdir()
        for each in ("weights", "deep/config"):
            (folder / each).write_text("a text of some length")

    return store.artefact(name, {"seed": 0}, build)


@pytest.fixture
def afresh(monkeypatch):
    """As in a process that has compared nothing yet."""
    monkeypatch.setattr(store, "_SOUND", set())


@pytest.mark.parametrize("how", ["gone", "cut", "empty", "longer", "flipped"])
@pytest.mark.parametrize("name", ["weights", "deep/config", "settings.json", "files.json"])
def test_a_damaged_artefact_is_named_and_built_again(cache, afresh, name, how, monkeypatch):
    folder = built("thing")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    damage(folder / name, how)
    monkeypatch.setattr(store, "_SOUND", set())
    if name == "files.json" and how in ("gone", "longer"):  # as of earlier code; and a blank more changes no list
        assert store.is_complete(built("thing"))
        return
    assert not store.is_complete(folder)
    with pytest.warns(UserWarning, match=rf"{folder.name}/(\S+) is damaged: it is built again"):
        assert built("thing") == folder
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_digests_are_compared_once_in_a_process_and_sizes_each_time(cache, afresh, monkeypatch):
    folder, read, real = built("thing"), [], store.file_digest
    monkeypatch.setattr(store, "_SOUND", set())
    monkeypatch.setattr(store, "file_digest", lambda file: read.append(file.name) or real(file))
    assert [store.is_complete(folder) for _ in range(3)] == [True] * 3
    assert sorted(read) == ["config", "settings.json", "weights"]
    damage(folder / "weights", "longer")
    assert not store.is_complete(folder)


# --- JSON files ---


def test_json_is_sorted_readable_and_ends_with_a_newline(tmp_path):
    store.write_json(tmp_path / "new" / "a.json", {"b": 1, "a": ["é", None]})
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == '{\n "a": [\n  "é",\n  null\n ],\n "b": 1\n}\n'
    assert store.read_json(tmp_path / "new" / "a.json") == {"a": ["é", None], "b": 1}


@pytest.mark.parametrize("data", [{"a": float("nan")}, [float("inf")], {"a": {1}}])
def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path, data):
    store.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="a.json cannot be written"):
        store.write_json(tmp_path / "a.json", data)
    assert store.read_json(tmp_path / "a.json") == {"old": 1} and len(list(tmp_path.iterdir())) == 1


def test_a_stopped_write_leaves_the_old_file(tmp_path, monkeypatch):
    store.write_json(tmp_path / "a.json", {"old": 1})

    def stopped(*names):
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        store.write_json(tmp_path / "a.json", {"new": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b'{"a": 1', b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path, damage):
    (tmp_path / "a.json").write_bytes(damage)
    with pytest.raises(ValueError, match="a.json is damaged.*delete it"):
        store.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["../stranger.txt", "/etc/hostname"])
def test_a_list_of_files_names_none_elsewhere(cache, name):
    folder = store.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("x"))
    listed = store.read_json(folder / store.FILES)
    store.write_json(folder / store.FILES, {**listed, name: [0, "0"]})
    assert store.damage(folder) == f"{folder / store.FILES} is damaged"

"""The artefact cache: keys that change with the code, folders that are whole or absent."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssah_core.records import cache, paths

BUILDER = """
import sys, time
from pathlib import Path
from ssah_core import store

def build(folder):
    with open(sys.argv[1], "a") as log:
        log.write("build\\n")
    (folder / "half").write_text("half")
    time.sleep(float(sys.argv[2]))
    (folder / "whole").write_text("whole")

print(cache.artefact("thing", {"seed": 0}, build))
"""


# --- code versions ---


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a made-up ssah_core, file by file."""
    monkeypatch.setattr(cache, "PACKAGE", tmp_path / "ssah_core")
    cache.code_version.cache_clear()
    yield lambda files: [_write(tmp_path / "ssah_core" / name, text) for name, text in files.items()]
    cache.code_version.cache_clear()


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    cache.code_version.cache_clear()


FILES = {
    "__init__.py": "from .alone import f\n",
    "alone.py": "def f():\n    return 1\n",
    "top.py": "import torch\nfrom . import middle\nfrom .sub import shown\n",
    "middle.py": "def f():\n    from .deep import g\n    return g\n",
    "deep.py": "import ssah_core.dotted as d\n",
    "dotted.py": "from ssah_core.sub.leaf import x\n",
    "sub/__init__.py": "from .hidden import shown\n",
    "sub/hidden.py": "from ..back import y as shown\n",
    "sub/leaf.py": "x = 1\n",
    "back.py": "y = 1\n",
}


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("__init__.py", "alone.py")])
def test_the_version_follows_every_import(package, name):
    package(FILES)
    before = cache.code_version("ssah_core.top")
    package({name: FILES[name] + "z = 2\n"})
    assert cache.code_version("ssah_core.top") != before


@pytest.mark.parametrize("name", ["__init__.py", "alone.py"])
def test_the_version_ignores_what_is_not_imported(package, name):
    package(FILES)
    before = cache.code_version("ssah_core.top")
    package({name: FILES[name] + "z = 2\n"})
    assert cache.code_version("ssah_core.top") == before


def test_a_module_of_a_package_does_not_pull_in_its_siblings(package):
    package(FILES)
    before = cache.code_version("ssah_core.sub.leaf")
    package({"sub/hidden.py": "shown = 3\n"})
    assert cache.code_version("ssah_core.sub.leaf") == before


def test_the_version_ignores_comments_docstrings_and_layout(package):
    package({"a.py": "def f(x):\n    return {**x, 'a': None}\n"})
    before = cache.code_version("ssah_core.a")
    package({"a.py": '"""About."""\n\n\ndef f( x ):\n    """Does f."""\n    # why\n    return {**x, "a": None}\n'})
    assert cache.code_version("ssah_core.a") == before


def test_every_difference_in_code_counts():
    texts = ["x = 1", "x = 1.0", "x = True", "x = '1'", "x = b'1'", "x = None", "x = ''", "x = ...", "x = -1", "x += 1",
             "x: int = 1", "y = 1", "x = [1]", "x = []", "x = {}", "x = (1,)", "x = f'{1}'", "x = f'{1!r}'",
             "x = f'{1:2}'"]
    assert len({cache._canonical(ast.parse(text)) for text in texts}) == len(texts)


def test_loops_of_imports_end(package):
    package({"a.py": "from .b import f", "b.py": "from .a import g"})
    assert len(cache.code_version("ssah_core.a")) == 12


def test_a_module_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="ssah_core.nothing"):
        cache.code_version("ssah_core.nothing")


def test_no_module_imports_from_the_top():
    """Such an import would bring in code that `code_version` does not count."""
    for file in cache.PACKAGE.rglob("*.py"):
        module = ".".join(file.relative_to(cache.PACKAGE.parent).with_suffix("").parts)
        package = module.removesuffix(".__init__") if file.name == "__init__.py" else module.rpartition(".")[0]
        assert cache.TOP not in cache._imports(ast.parse(file.read_text(encoding="utf-8")), package), file


def test_the_whole_version_covers_every_file(package):
    package(FILES)
    before = cache.whole_code_version()
    package({"alone.py": "def f():\n    return 2\n"})
    assert cache.whole_code_version() != before


# --- keys ---


def test_keys_do_not_depend_on_order_but_on_every_value():
    assert cache.key({"a": 1, "b": (1, 2)}) == cache.key({"b": [1, 2], "a": 1})
    keys = [cache.key({"a": value}) for value in (1, 1.5, "1", True, None, [1], {"b": 1})]
    assert len(set(keys)) == len(keys) and all(len(key) == 12 for key in keys)


@pytest.mark.parametrize("value", [Path("x"), {1, 2}, float("nan"), [float("inf")], {"deep": object()}])
def test_a_setting_that_is_not_json_is_named(value):
    with pytest.raises(ValueError, match="setting 'rate'"):
        cache.key({"fine": 1, "rate": value})


def test_a_setting_whose_name_is_not_text_is_refused():
    with pytest.raises(ValueError, match="name of a setting is 3"):
        cache.key({3: 1})


# --- artefacts ---


def test_an_artefact_is_built_once(cache):
    calls = []
    first = cache.artefact("thing", {"seed": 0}, lambda folder: calls.append((folder / "x").write_text("x")))
    again = cache.artefact("thing", {"seed": 0}, lambda folder: calls.append("again"))
    other = cache.artefact("thing", {"seed": 1}, lambda folder: None)
    assert first == again != other and len(calls) == 1
    assert first.parent == cache / "thing" and (first / "x").read_text() == "x"
    assert cache.read_json(first / "settings.json") == {"seed": 0}


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_build_that_stops_leaves_nothing(cache, stop):
    def build(folder):
        (folder / "half").write_text("half")
        raise stop

    with pytest.raises(stop):
        cache.artefact("thing", {"seed": 0}, build)
    assert [file.name for file in (cache / "thing").iterdir() if not file.name.endswith(".lock")] == []
    assert (cache.artefact("thing", {"seed": 0}, lambda folder: None) / "settings.json").is_file()


def test_a_folder_that_lost_its_settings_is_built_again(cache):
    folder = cache.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("old"))
    (folder / "settings.json").unlink()
    cache.artefact("thing", {"seed": 0}, lambda folder: (folder / "x").write_text("new"))
    assert (folder / "x").read_text() == "new"


@pytest.mark.parametrize("kind", ["", "a/b", "../a", ".hidden"])
def test_a_kind_that_is_no_folder_name_is_refused(cache, kind):
    with pytest.raises(ValueError, match="kind is"):
        cache.artefact(kind, {}, lambda folder: None)


def _start(log: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(log), str(seconds)], cwd=paths.root(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _wait_for(log: Path) -> None:
    deadline = time.monotonic() + 60
    while not log.exists():
        assert time.monotonic() < deadline, "the build never began"
        time.sleep(0.02)


def test_a_killed_build_leaves_no_artefact_and_is_cleared_by_the_next(cache, tmp_path):
    process = _start(tmp_path / "log", 60)
    _wait_for(tmp_path / "log")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    left = [file.name for file in (cache / "thing").iterdir() if file.is_dir()]
    assert len(left) == 1 and left[0].endswith(".partial")
    cache.artefact("thing", {"seed": 1}, lambda folder: None)
    assert not list((cache / "thing").glob(".*.partial"))
    built = cache.artefact("thing", {"seed": 0}, lambda folder: (folder / "whole").write_text("whole"))
    assert sorted(file.name for file in built.iterdir()) == ["settings.json", "whole"]


def test_two_processes_build_once_and_the_second_waits(cache, tmp_path):
    first = _start(tmp_path / "log", 10)
    _wait_for(tmp_path / "log")
    cache.artefact("thing", {"seed": 1}, lambda folder: None)  # must not sweep away what is being built
    second = _start(tmp_path / "log", 0)
    (path, errors), (same_path, waited) = first.communicate(timeout=60), second.communicate(timeout=60)
    assert path == same_path and (Path(path.strip()) / "whole").is_file()
    assert (tmp_path / "log").read_text() == "build\n"
    assert errors == "" and waited.startswith("waiting: another process is building thing/")


# --- JSON files ---


def test_json_is_sorted_readable_and_ends_with_a_newline(tmp_path):
    cache.write_json(tmp_path / "new" / "a.json", {"b": 1, "a": ["é", None]})
    assert (tmp_path / "new" / "a.json").read_text(encoding="utf-8") == '{\n "a": [\n  "é",\n  null\n ],\n "b": 1\n}\n'
    assert cache.read_json(tmp_path / "new" / "a.json") == {"a": ["é", None], "b": 1}


@pytest.mark.parametrize("data", [{"a": float("nan")}, [float("inf")], {"a": {1}}])
def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path, data):
    cache.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="a.json cannot be written"):
        cache.write_json(tmp_path / "a.json", data)
    assert cache.read_json(tmp_path / "a.json") == {"old": 1} and len(list(tmp_path.iterdir())) == 1


def test_a_stopped_write_leaves_the_old_file(tmp_path, monkeypatch):
    cache.write_json(tmp_path / "a.json", {"old": 1})

    def stopped(*names):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        cache.write_json(tmp_path / "a.json", {"new": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b'{"a": 1', b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path, damage):
    (tmp_path / "a.json").write_bytes(damage)
    with pytest.raises(ValueError, match="a.json is damaged.*delete it"):
        cache.read_json(tmp_path / "a.json")

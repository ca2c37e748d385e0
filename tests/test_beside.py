"""Notebooks beside each other: as many at a time as there is room for, each in a process that ends with the run."""

import multiprocessing
import os
import struct
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_execute import make, text_of

from ssah_core.records import cache, paths
from ssah_core.runner import beside, up_to_date

MEET = """
import time
from pathlib import Path
Path({mine!r}).touch()
until = time.monotonic() + 60
while not Path({other!r}).exists() and time.monotonic() < until:
    time.sleep(0.05)
print(Path({other!r}).exists())
"""


@pytest.fixture
def books(tmp_path, monkeypatch, cache_folder) -> Path:
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "notebooks"


@pytest.fixture
def cache_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def plan_of(*notebooks: Path) -> dict:
    return {notebook: {} for notebook in notebooks}


def test_two_notebooks_run_at_once_and_each_is_told_what_it_wrote(books, tmp_path, cache_folder, capsys):
    mine, other = str(tmp_path / "a"), str(tmp_path / "b")
    write = "\nfrom ssah_core.records import cache, paths\ncache.write_json(paths.figures() / '{}.json', {{}})"
    first = make(books, MEET.format(mine=mine, other=other) + write.format("first"), name="00_first.ipynb")
    second = make(books, MEET.format(mine=other, other=mine) + write.format("second"), name="01_second.ipynb")
    assert beside.run_beside(plan_of(first, second), tmp_path / "out", 2) == []
    for name in ("00_first", "01_second"):
        assert text_of(tmp_path / "out" / f"{name}.ipynb") == "True\n"  # each saw the other while it ran
    said = capsys.readouterr().out
    assert "00_first: done in" in said and "01_second: done in" in said
    stamps = {file.name[:2]: cache.read_json(file)["wrote"] for file in (cache_folder / "executed").glob("*.json")}
    assert {name: list(wrote) for name, wrote in stamps.items()} == {"00": ["first.json"], "01": ["second.json"]}
    assert beside.run_beside(plan_of(first, second), tmp_path / "out", 2) == []
    assert capsys.readouterr().out.count("up to date") == 2


def test_no_more_run_at_once_than_there_is_room_for(books, tmp_path):
    code = "import time\nprint(time.time())\ntime.sleep(1)\nprint(time.time())"
    made = [make(books, code, name=f"0{n}_try.ipynb") for n in range(3)]
    beside.run_beside(plan_of(*made), tmp_path / "out", 1)
    spans = sorted([float(time_) for time_ in text_of(tmp_path / "out" / notebook.name).split()] for notebook in made)
    assert all(earlier[1] <= later[0] for earlier, later in zip(spans, spans[1:], strict=False))


def test_long_ones_begin_first():
    names = [f"0{n}_a.ipynb" for n in range(9)] + ["10_a.ipynb"]
    order = [path.name[:2] for path in sorted(map(Path, names), key=beside._place)]
    assert order[:2] == ["03", "02"] and sorted(order) == sorted(name[:2] for name in names)


def test_one_that_fails_stops_no_other(books, tmp_path, capsys):
    bad, good = make(books, "1 / 0", name="00_bad.ipynb"), make(books, "print(1)", name="01_good.ipynb")
    [failure] = beside.run_beside(plan_of(bad, good), tmp_path / "out", 2)
    assert "00_bad.ipynb, cell [2] (1 / 0): ZeroDivisionError" in str(failure)
    assert (tmp_path / "out" / "01_good.ipynb").is_file() and not (tmp_path / "out" / "00_bad.ipynb").exists()
    assert "others go on" in capsys.readouterr().out


def test_a_process_that_is_killed_in_the_midst_of_a_message_ends_no_other():
    here, there = multiprocessing.Pipe(duplex=False)
    os.write(there.fileno(), struct.pack("!i", 100) + b"half of it")
    there.close()
    process = SimpleNamespace(name="00_try", exitcode=-9, join=lambda: None)
    assert beside._heard(here, process) == ("ended", "00_try: its process ended with exit code -9")


def test_a_wrong_parameter_ends_the_run(books, tmp_path):
    notebook = make(books, "1", name="00_try.ipynb")
    with pytest.raises(ValueError, match="sedes"):
        beside.run_beside({notebook: {"sedes": [0]}}, tmp_path / "out", 2)


def test_an_error_here_ends_the_processes_there(books, tmp_path, monkeypatch):
    notebook = make(books, f"from pathlib import Path\nimport os, time\nPath({str(tmp_path / 'pid')!r}).write_text("
                           "str(os.getpid()))\ntime.sleep(600)", name="00_try.ipynb")

    def wait_then_fail(pipes):
        until = time.monotonic() + 60
        while not (tmp_path / "pid").exists() and time.monotonic() < until:
            time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(beside, "wait", wait_then_fail)
    with pytest.raises(KeyboardInterrupt):
        beside.run_beside(plan_of(notebook), tmp_path / "out", 2)
    kernel, until = int((tmp_path / "pid").read_text()), time.monotonic() + 30
    while Path(f"/proc/{kernel}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{kernel}").exists()


def test_what_stands_is_noted_by_those_who_write_or_find_it(books, tmp_path):
    with up_to_date._noted() as names:
        assert "SSAH_STANDING" in os.environ
        cache.write_json(paths.figures() / "records" / "a.json", {})
        cache.write_json(tmp_path / "elsewhere.json", {})
        cache.note_standing(paths.figures() / "records" / "gone.json")
    assert names == ["records/a.json"] and "SSAH_STANDING" not in os.environ


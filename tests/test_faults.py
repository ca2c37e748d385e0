"""The harness of faults itself: its steps are where it says, it kills at the step named, and it can find loss."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from ssah_core.records import paths
from tests.faults import __main__ as command
from tests.faults import compare, damage, kill, runs, tell

HOOK = Path(runs.HOOK) / "sitecustomize.py"
WORK = """
import os, subprocess, sys
from pathlib import Path
records = Path(sys.argv[1]) / "run" / "figures" / "records"
records.mkdir(parents=True, exist_ok=True)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
for n in range(3):
    if not (records / f"{n}.json").exists():
        (records / f".{n}.json.draft").write_bytes(b'{"n": %d}' % n)
        os.replace(records / f".{n}.json.draft", records / f"{n}.json")
child.kill()
"""
"""Writes three records, with a child at its side: each record takes three steps (draft, before and after its place)."""


class Small(runs.Place):
    """A place where a run is this file's `WORK`, not notebooks."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", WORK, str(self.folder)]


@pytest.fixture
def place(tmp_path) -> Small:
    return Small(tmp_path / "place")


@pytest.fixture(scope="module")
def hook() -> dict:
    names: dict = {"__name__": "hook"}
    exec(compile(HOOK.read_text(encoding="utf-8"), HOOK, "exec"), names)  # does nothing without FAULTS_PLAN
    return names


def test_every_function_whose_calls_are_counted_is_there(hook):
    for module, calls in hook["CALLS"].items():
        for path in calls:
            owner = importlib.import_module(module)
            for part in path.split("."):
                owner = getattr(owner, part)
            assert callable(owner), f"{module}: {path}"


def test_every_phase_has_steps(hook):
    phases = {phase for calls in hook["CALLS"].values() for phase in calls.values()}
    phases |= {phase for _, phase in hook["PLACES"]}
    assert phases == set(kill.PHASES)


# -- killing -----------------------------------------------------------------------------------------------


def test_a_run_is_killed_at_the_step_that_is_named_with_all_its_processes(place):
    for step, whole in ((1, []), (2, []), (3, ["0.json"]), (6, ["0.json", "1.json"])):
        place.clear()
        counts = kill.counted_in(place)
        process = place.start({"kill": {"counts": str(counts), "at": {"record": [step]}}})
        process.communicate(timeout=60)
        assert process.returncode == -9 and place.left() == 0
        assert (counts / "record").stat().st_size == step
        records = place.folder / "run" / "figures" / "records"
        assert sorted(file.name for file in records.glob("[0-9]*.json")) == whole
    assert (counts / "killed").read_text() == "record\t1.json in its place\n"


def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one_and_loss_is_found(place, monkeypatch):
    monkeypatch.setattr(kill, "draw_points", lambda *given: {"record": [1, 5, 8]})
    whole = kill.undisturbed(place)
    assert kill.steps(whole) == {"record": 9}
    outcomes = kill.kill_anywhere(place, whole)
    assert [(each.kind, each.tried, each.lost) for each in outcomes] == [("record", 3, 0), ("at the end", 1, 0)]
    assert outcomes[0].details == ["torn draft .0.json.draft", "torn draft .1.json.draft", "1.json in its place"]
    (whole / "run" / "figures" / "records" / "1.json").write_text('{"n": 7}')
    assert [each.lost for each in kill.kill_anywhere(place, whole)] == [1, 1]


def test_points_that_are_never_reached_are_no_proof(place, monkeypatch):
    whole = kill.undisturbed(place)
    monkeypatch.setattr(kill, "draw_points", lambda *given: {"record": [1, 98, 99]})
    outcome, end = kill.kill_anywhere(place, whole)
    assert (outcome.tried, outcome.lost, end.lost) == (1, 2, 0)
    assert outcome.details[-1] == "2 of 3 points were never reached"
    monkeypatch.setattr(kill, "draw_points", lambda *given: {})
    (end,) = kill.kill_anywhere(place, whole)
    assert (end.lost, end.details) == (1, ["there was no point to kill at"])


@pytest.mark.parametrize("outcomes, code", [
    ([(4, 0)], 0), ([(4, 0), (0, 0)], 2), ([(0, 0)], 2), ([], 2), ([(4, 1), (0, 0)], 1)])
def test_what_could_not_be_tried_is_told_by_the_exit_code(tmp_path, monkeypatch, outcomes, code):
    made = [tell.Outcome("kill", f"kind {n}", *counts) for n, counts in enumerate(outcomes)]
    monkeypatch.setattr(command, "FAULTS", {"kill": lambda *given: made})
    monkeypatch.setattr(command, "undisturbed", lambda place: tmp_path)
    assert command.main(["kill", "--folder", str(tmp_path), "--out", str(tmp_path / "out.json")]) == code


def test_no_folder_is_emptied_but_that_of_a_run_of_these(tmp_path, capsys):
    for name in ("place", "aside"):
        put(tmp_path / name, "thesis.tex", b"mine")
        place = runs.Place(tmp_path / "place")
        with pytest.raises(ValueError, match=f"{name} holds files, but no run of these: name another folder"):
            place.clear() if name == "place" else place.put_aside("aside")
        assert (tmp_path / name / "thesis.tex").read_bytes() == b"mine"
    assert command.main(["kill", "--folder", str(tmp_path), "--out", str(tmp_path / "out.json")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'place'} holds files")


def test_points_are_drawn_by_the_seed(tmp_path):
    whole = tmp_path / "place.undisturbed"
    kill.steps_of(whole).mkdir()
    (kill.steps_of(whole) / "rows").write_bytes(b"." * 50)
    (kill.steps_of(whole) / "report").write_bytes(b"..")
    one, two, other = (kill.draw_points(whole, 3, seed) for seed in (0, 0, 1))
    assert one == two != other and one["report"] == [1, 2]
    assert len(one["rows"]) == 3 and set(one["rows"]) <= set(range(1, 51))


# -- damage ------------------------------------------------------------------------------------------------

KEPT = {"cache/organisms/ab12/model.safetensors": b"weights", "run/figures/records/one.json": b'{"n": 1}'}
MENDS = """
import sys
from pathlib import Path
place, tells, kept = Path(sys.argv[1]), sys.argv[2] == "tells", eval(sys.argv[3])
for name, content in kept.items():
    file = place / name
    if file.read_bytes() != content:
        if tells:
            print(f"00: {file} is damaged: it is built again")
        file.write_bytes(content)
"""


@pytest.mark.parametrize("tells, lost", [("tells", 0), ("is silent", 2)])
def test_an_artefact_that_is_made_again_without_a_word_is_lost(tmp_path, monkeypatch, tells, lost):
    place = runs.Place(tmp_path / "place")
    monkeypatch.setattr(runs.Place, "command", lambda self: [sys.executable, "-c", MENDS, str(self.folder), tells,
                                                             repr(KEPT)])
    for name, content in KEPT.items():
        put(tmp_path / "whole", name, content)
    weights, record = damage.damaged(place, tmp_path / "whole")
    assert (weights.kind, weights.tried, weights.lost) == ("weights", 2, lost) and (record.tried, record.lost) == (2, 0)
    assert len([line for line in weights.details if "told: 00: " in line]) == (2 if tells == "tells" else 0)
    assert [line for line in weights.details if "nobody was told" in line] == [
        f"{way}: model.safetensors was made again, and nobody was told" for way in damage.WAYS[:lost]]


# -- comparing ---------------------------------------------------------------------------------------------

ROWS = {"rows": [{"metric": "m", "value": 1.0}], "evidence": {"code": "0" * 12, "date": "2026-01-01"}}


def put(folder: Path, name: str, content: object) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


@pytest.mark.parametrize("name, one, other, is_equal", [
    ("run/figures/a.png", b"one", b"two", False),
    ("run/figures/a.json", {"value": 1.0}, {"value": 1.5}, False),
    ("run/figures/a.json", {"value": 1.0}, b'{"value": 1', False),
    ("cache/studies/1/rows.json", ROWS, {**ROWS, "evidence": {"code": "0" * 12, "date": "2027-12-31"}}, True),
    ("cache/studies/1/rows.json", ROWS, {**ROWS, "evidence": {"code": "1" * 12, "date": "2026-01-01"}}, False),
    ("cache/studies/1/rows.json", ROWS, {**ROWS, "rows": [{"metric": "m", "value": 2.0}]}, False),
    ("run/figures/records/deep.guard.cost.cost.tiny.json", {"value": 1.0, "n": 1}, {"value": 2.0, "n": 1}, True),
    ("run/figures/records/deep.guard.cost.cost.tiny.json", {"value": 1.0, "n": 1}, {"value": 1.0, "n": 2}, False),
    ("run/figures/records/table1.scu.asr.tiny.json", {"value": 1.0}, {"value": 2.0}, False),
    ("run/08_re_evaluate_direction.ipynb", {"text": 'a. The guard costs, of the tokens a second: 1 %'},
     {"text": 'a. The guard costs, of the tokens a second: 2 %'}, True),
    ("run/08_re_evaluate_direction.ipynb", {"text": 'a. The guard'}, {"text": 'b. The guard'}, False),
    ("cache/executed/00.log", b"one", b"two", True), ("cache/organisms/.1.lock", b"one", b"two", True)])
def test_two_runs_differ_where_they_do_and_dates_do_not_count(tmp_path, name, one, other, is_equal):
    put(tmp_path / "one", name, one)
    put(tmp_path / "other", name, other)
    assert compare.differences(tmp_path / "one", tmp_path / "other") == ([] if is_equal else [name])


def test_what_is_missing_or_too_much_is_a_difference_and_only_what_is_there_is_torn(tmp_path):
    for folder, name in (("one", "a"), ("one", "b"), ("other", "b"), ("other", "c")):
        put(tmp_path / folder, name, b"same")
    assert compare.differences(tmp_path / "one", tmp_path / "other") == ["a", "c"]
    assert compare.torn(tmp_path / "one", tmp_path / "other") == ["a"]


# -- telling -----------------------------------------------------------------------------------------------


def test_outcomes_are_a_table_and_a_file_that_keeps_those_of_other_faults(tmp_path):
    one, two = tell.Outcome("kill", "training", 4, 0), tell.Outcome("disk", "points", 10, 1, ["3: half"])
    assert tell.table([one, two]).splitlines()[-1] == "| all | | 14 | 1 |"
    tell.write(tmp_path / "out.json", [one], {"scale": "tiny"})
    tell.write(tmp_path / "out.json", [two], {"scale": "tiny"})
    kept = json.loads((tmp_path / "out.json").read_text())
    assert [each["fault"] for each in kept["outcomes"]] == ["kill", "disk"] and kept["scale"] == "tiny"


def test_the_harness_lies_where_make_looks_for_it():
    assert "-m tests.faults" in (paths.root() / "Makefile").read_text(encoding="utf-8")

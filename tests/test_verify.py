"""`make verify` makes one organism's rows again and compares: equal ones are stamped, one changed by hand is named."""

import json
from importlib.metadata import version

import pytest

from ssah_core import arithmetic, measure_each, sources
from ssah_core.records import cache as store
from ssah_core.records import evidence
from ssah_core.runner import verify
from ssah_core.runner.verify import main
from ssah_core.studies import stages


@pytest.fixture
def kept(cache, organisms, monkeypatch):
    """The rows of one study, measured in the portable mode; and the folder in which `verify` measures anew."""
    measure_each(stages.losses, [0], "tiny")
    scratch = cache / "verify" / f"{evidence.code_digest()}-torch{version('torch')}" / "cache"
    scratch.mkdir(parents=True)
    (scratch / "organisms").symlink_to(organisms, target_is_directory=True)
    return cache.parent / "figures" / "measurements" / "losses" / "tiny-seed0.json"


def change(file, **changes):
    store.write_json(file, {**store.read_json(file), **changes})


def test_equal_rows_are_stamped_as_verified_by_the_present_code(kept, capsys):
    assert main(["--scale", "tiny"]) == 0
    stamped = json.loads(kept.read_text())["evidence"]["verified"]
    assert stamped["code"] == evidence.code_digest()
    assert "losses, seed 0: equal (17 rows" in capsys.readouterr().out


def test_what_this_code_has_verified_is_not_measured_again(kept, capsys, monkeypatch):
    assert main(["--scale", "tiny"]) == 0
    monkeypatch.setattr("ssah_core.runner.verify.measured", None)  # would fail
    assert main(["--scale", "tiny"]) == 0
    assert "verified by this code before" in capsys.readouterr().out


def test_rows_that_others_measured_meanwhile_stay(kept, capsys, monkeypatch):
    real = verify.measured

    def meanwhile(run):
        found = real(run)
        change(kept, rows=[])
        return found
    monkeypatch.setattr(verify, "measured", meanwhile)
    main(["--scale", "tiny"])
    assert json.loads(kept.read_text())["rows"] == [] and "verified" not in json.loads(kept.read_text())["evidence"]


def test_stale_rows_are_not_called_equal_though_this_code_has_verified_them(kept, capsys):
    assert main(["--scale", "tiny"]) == 0
    there = json.loads(kept.read_text())["rests_on"]
    change(kept, rests_on=dict.fromkeys(there, "0" * 12))
    assert main(["--scale", "tiny"]) == 2
    assert there and "losses, seed 0: passed over (" in capsys.readouterr().out


def test_a_row_changed_by_hand_is_named_with_both_values_and_nothing_is_stamped(kept, capsys):
    rows = json.loads(kept.read_text())["rows"]
    true = rows[2]["value"]
    rows[2]["value"] = 1.5
    change(kept, rows=rows)
    before = kept.read_bytes()
    assert main(["--scale", "tiny"]) == 1
    said = capsys.readouterr().out
    assert "losses, seed 0: unequal (row 2" in said and f"value is {true!r}, kept 1.5" in said
    assert "give the study a new version and measure it anew" in said and kept.read_bytes() == before


def test_a_row_that_is_missing_is_told(kept, capsys):
    change(kept, rows=json.loads(kept.read_text())["rows"][:-1])
    assert main(["--scale", "tiny"]) == 1
    assert "17 rows, but 16 are kept" in capsys.readouterr().out


def test_rows_from_outside_the_portable_mode_are_passed_over(kept, capsys):
    content = json.loads(kept.read_text())
    change(kept, evidence={**content["evidence"], "arithmetic": "none"})
    assert main(["--scale", "tiny"]) == 2
    assert "passed over (measured outside the portable mode" in capsys.readouterr().out


@pytest.mark.parametrize("damage, sentence", [
    (damage, "is damaged or of another format") for damage in (
        {"rows": []}, {"format": 1}, {"identity": {"study": "losses"}}, {"evidence": {}}, {"rests_on": None})])
def test_damaged_rows_are_one_sentence(kept, capsys, damage, sentence):
    change(kept, **damage)
    assert main(["--scale", "tiny"]) == 2
    assert sentence in capsys.readouterr().err


def test_a_stamp_of_unknown_code_is_one_sentence(kept, capsys):
    content = json.loads(kept.read_text())
    change(kept, evidence={**content["evidence"], "code": "me"})
    assert main(["--scale", "tiny"]) == 2
    assert "has the stamp 'me', which no code gives" in capsys.readouterr().err


def test_rows_of_a_study_of_ones_own_are_passed_over_and_keep_no_other_from_being_verified(kept, capsys):
    mine = kept.parent.with_name("mine")
    mine.mkdir()
    for name in (kept.name, "tiny-seed0 copy.json"):
        (mine / name).write_bytes(kept.read_bytes())
    assert main(["--scale", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "losses, seed 0: equal" in said and "mine, seed 0: passed over (a study of your own" in said


def test_rows_in_the_place_of_another_seed_are_refused_whichever_seed_is_drawn(kept, capsys):
    (kept.parent / "tiny-seed1.json").write_bytes(kept.read_bytes())
    assert main(["--scale", "tiny"]) == 2
    assert "tiny-seed1.json says that it holds rows of 'losses', scale 'tiny', seed 0" in capsys.readouterr().err


def test_rows_that_were_changed_after_they_were_verified_are_unequal(kept, capsys):
    assert main(["--scale", "tiny"]) == 0
    rows = json.loads(kept.read_text())["rows"]
    rows[2]["value"] = 1.5
    change(kept, rows=rows)
    assert main(["--scale", "tiny"]) == 1
    assert "losses, seed 0: unequal (row 2" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, sentence", [
    (["--studies", "lossses"], "--studies has lossses: choose from"), (["--scale", "organism"], "nothing to verify"),
    (["--studies", "dose"], "of these studies: nothing to verify")])
def test_nothing_to_compare_is_one_sentence(kept, capsys, arguments, sentence):
    assert main(["--scale", "tiny", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_another_mode_of_arithmetic_is_refused(kept, capsys, monkeypatch):
    monkeypatch.setattr(arithmetic, "_in_force", "strict")
    assert main(["--scale", "tiny"]) == 2
    assert "run `make verify`, which sets the portable one" in capsys.readouterr().err


def test_code_that_is_edited_while_it_runs_stamps_nothing(kept, capsys, monkeypatch):
    monkeypatch.setattr(sources, "read", lambda: {})
    assert main(["--scale", "tiny"]) == 2
    assert "edited while it ran" in capsys.readouterr().err

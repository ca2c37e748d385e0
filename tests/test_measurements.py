"""Measurements are made once for an identity, go stale with what they rest on and nothing else, and hide no damage."""

import json

import numpy
import pandas
import pytest

from ssah_core import measure_each
from ssah_core.records import rests_on, study
from ssah_core.records.measurements import Run, kept_rows
from ssah_core.records.row_files import FORMAT, read_rows
from ssah_core.studies import stages

ROW = {"seed": 0, "group": "SCU", "share": 0.03, "metric": "harm_right", "judge": "truth", "value": 0.41, "n": 276}
CONTENT = {"exam/test": "1", "judge/truth": "1"}
"""What the made-up study rests on: name -> digest."""
TIMES = {"measured": 0}


def content(name, seed, scale, checkpoints):
    return CONTENT[name]


@study("removal", version=1, content=content)
def removal(seed, scale, share=0.03, checkpoints=None, **more):
    """Each time it is measured its last value differs."""
    TIMES["measured"] += 1
    rests_on("exam/test")
    return [ROW, {**ROW, "group": "RU", "value": float(TIMES["measured"])}]


@pytest.fixture(autouse=True)
def folders(cache, tmp_path, monkeypatch):
    monkeypatch.delenv("SSAH_RECORDS", raising=False)
    monkeypatch.setenv("SSAH_WORKERS", "1")  # so that the count above is this process's
    TIMES["measured"] = 0
    return tmp_path


def measure(function=removal, seed=0, scale="organism", **settings) -> pandas.DataFrame:
    return measure_each(function, [seed], scale, **settings)


def file_of(folders, name="organism-seed0"):
    return folders / "figures" / "measurements" / "removal" / f"{name}.json"


def forget_cache(folders):
    (folders / "cache" / "studies").rename(folders / f"old-{len(list(folders.iterdir()))}")


# --- identity ---


def test_equal_studies_are_measured_once():
    first, second = measure(), measure()
    assert TIMES["measured"] == 1
    pandas.testing.assert_frame_equal(first, second)
    assert first.value.tolist() == [0.41, 1.0] and first.group.tolist() == ["SCU", "RU"]


@pytest.mark.parametrize("change", [{"share": 0.06}, {"seed": 1}, {"scale": "tiny"}, {"criterion": "fisher"}])
def test_other_settings_are_measured_anew(change):
    measure()
    assert measure(**change).value[1] == 2.0
    measure(**change)
    assert TIMES["measured"] == 2


def test_another_version_is_measured_anew_and_says_so(folders, capsys):
    measure()
    newer = study("removal", version=2, content=content)(lambda seed, scale, **more: removal(seed, scale, **more))
    assert measure(newer).value[1] == 2.0 and TIMES["measured"] == 2
    assert capsys.readouterr().out.count("rows of removal, seed 0, are measured anew: other version") == 1
    assert json.loads(file_of(folders).read_text())["identity"]["version"] == 2


def test_rows_of_a_later_version_are_refused_and_stay(folders):
    measure(study("removal", version=2, content=content)(lambda seed, scale, **more: removal(seed, scale, **more)))
    before = file_of(folders).read_bytes()
    with pytest.raises(ValueError, match="rows of version 2 of the study .removal., but this code measures version 1"):
        measure()
    assert file_of(folders).read_bytes() == before


def test_other_code_with_the_same_identity_is_not_measured_anew(folders):
    measure()
    moved = study("removal", version=1, content=content)(lambda seed, scale, **more: 1 / 0)
    moved.__module__, moved.__name__ = "ssah_core.elsewhere", "renamed"
    assert measure(moved).value[1] == 1.0


def test_variants_are_kept_apart(folders):
    found = measure_each(removal, [0, 1], "tiny", over={"a": {"factor": 1}, "b": {"factor": 2}}, each={1: {"more": 5}})
    assert len(found) == 8 and TIMES["measured"] == 4
    assert sorted(str(file.relative_to(folders / "figures")) for file in (folders / "figures").rglob("*.json")) == [
        f"measurements/removal/{name}/tiny-seed{seed}.json" for name in "ab" for seed in (0, 1)]


# --- content ---


def test_rows_go_stale_with_what_they_rest_on_and_with_nothing_else(monkeypatch, capsys):
    measure()
    monkeypatch.setitem(CONTENT, "judge/truth", "2")  # which this study has not asked
    assert measure().value[1] == 1.0
    monkeypatch.setitem(CONTENT, "exam/test", "2")
    assert measure().value[1] == 2.0 and measure().value[1] == 2.0
    assert "exam/test changed since" in capsys.readouterr().out


def test_rows_in_the_cache_go_stale_too(folders, monkeypatch):
    measure()
    file_of(folders).unlink()
    monkeypatch.setitem(CONTENT, "exam/test", "2")
    assert measure().value[1] == 2.0


def test_content_without_a_digest_is_an_error(folders):
    @study("removal", version=1)
    def bare(seed, scale):
        rests_on("exam/test")
        return [ROW]

    with pytest.raises(ValueError, match="rests on .exam/test., but nothing says what that is"):
        measure(bare)
    assert not list((folders / "figures").rglob("*.json"))


# --- files ---


def test_the_file_says_what_was_measured_on_what_and_how_it_came_about(folders):
    measure()
    content = json.loads(file_of(folders).read_text())
    assert set(content) == {"format", "identity", "rests_on", "evidence", "rows"} and content["format"] == FORMAT
    assert content["identity"] == {"study": "removal", "version": 1, "seed": 0, "scale": "organism", "settings": {}}
    assert content["rests_on"] == {"exam/test": "1"}
    assert len(content["evidence"]["code"]) == 12 and content["evidence"]["arithmetic"] == "portable"


def test_a_committed_file_spares_the_measurement(folders):
    measure()
    forget_cache(folders)
    before = file_of(folders).read_bytes()
    assert measure().value[1] == 1.0 and TIMES["measured"] == 1
    assert file_of(folders).read_bytes() == before


def test_a_committed_file_of_another_identity_is_not_used(folders):
    measure()
    content = json.loads(file_of(folders).read_text())
    file_of(folders).write_text(json.dumps({**content, "identity": {**content["identity"], "seed": 7}}))
    forget_cache(folders)
    assert measure().value[1] == 2.0
    assert json.loads(file_of(folders).read_text())["identity"] == content["identity"]


def test_a_cached_study_restores_its_file_with_its_evidence(folders):
    measure()
    before = file_of(folders).read_bytes()
    file_of(folders).unlink()
    assert measure().value[1] == 1.0 and TIMES["measured"] == 1
    assert file_of(folders).read_bytes() == before


def test_ignoring_records_measures_although_a_file_is_committed(folders, monkeypatch):
    measure()
    forget_cache(folders)
    monkeypatch.setenv("SSAH_RECORDS", "ignore")
    assert measure().value[1] == 2.0
    assert json.loads(file_of(folders).read_text())["rows"][1]["value"] == 2.0


def test_what_was_read_from_a_file_does_not_reach_the_cache(folders, monkeypatch):
    """Otherwise `ignore` would read a committed number by a detour."""
    measure()
    forget_cache(folders)
    measure()
    monkeypatch.setenv("SSAH_RECORDS", "ignore")
    assert measure().value[1] == 2.0


def test_a_misspelt_wish_is_an_error(monkeypatch):
    monkeypatch.setenv("SSAH_RECORDS", "ingore")
    with pytest.raises(ValueError, match="SSAH_RECORDS is 'ingore'"):
        measure()
    assert not TIMES["measured"]


@pytest.mark.parametrize("damage", [
    "", "{", {"rows": []}, {"rows": "abc"}, {"rows": [{"metric": "asr"}]}, {"identity": None}, {"rests_on": None}])
def test_a_damaged_file_is_measured_again(folders, damage):
    measure()
    forget_cache(folders)
    whole = json.loads(file_of(folders).read_text())
    file_of(folders).write_text(damage if isinstance(damage, str) else json.dumps({**whole, **damage}))
    assert read_rows(file_of(folders)) is None
    assert measure().value[1] == 2.0
    assert json.loads(file_of(folders).read_text())["rows"][1]["value"] == 2.0


def test_damaged_rows_in_the_cache_are_measured_again(folders):
    measure()
    file_of(folders).unlink()
    next((folders / "cache" / "studies").rglob("rows.json")).write_text("{")
    assert measure().value[1] == 2.0


@pytest.mark.parametrize("rows, sentence", [
    ([], "no rows"), ([{"metric": "asr"}], "row 0 is"), ([ROW, {"value": 0.1}], "row 1 is"),
    ([{**ROW, "value": float("nan")}], "finite"), ([{**ROW, "value": float("inf")}], "finite"),
    ([{**ROW, "share": numpy.float64("nan")}], "finite"), ([{**ROW, "value": None}], "row 0 is"),
    ([{**ROW, "value": True}], "row 0 is"), ([{**ROW, "value": "0.4"}], "row 0 is")])
def test_bad_rows_are_refused_and_nothing_is_written(folders, rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure(study("removal", version=1)(lambda seed, scale: rows))
    assert not list((folders / "figures").rglob("*.json")) and not list((folders / "cache" / "studies").rglob("*.json"))


def test_a_study_that_fails_writes_nothing_and_can_be_run_again(folders):
    with pytest.raises(ZeroDivisionError):
        measure(study("removal", version=1)(lambda seed, scale: 1 / 0))
    assert not list((folders / "figures").rglob("*.json"))
    assert measure().value[1] == 1.0


def test_numpy_numbers_are_kept_exactly():
    row = {"metric": "asr", "value": numpy.float64(1 / 3), "n": numpy.int64(7)}
    exact = study("removal", version=1)(lambda seed, scale: [row])
    assert measure(exact).value[0] == 1 / 3 and measure(exact).n[0] == 7


# --- wrong arguments ---


@pytest.mark.parametrize("name", ["../outside", "", "a b", "a//b"])
def test_a_study_has_a_name_that_can_be_a_folder(name):
    with pytest.raises(ValueError, match="use letters, digits and _"):
        study(name, version=1)


@pytest.mark.parametrize("version", [0, -1, "2", 1.5])
def test_a_study_has_a_whole_version(version):
    with pytest.raises(ValueError, match="give a whole number from 1 on"):
        study("removal", version=version)


def test_a_function_that_is_no_study_is_refused():
    with pytest.raises(ValueError, match="'measure' is no study: put @ssah_core.records.study"):
        measure_each(measure, [0], "tiny")


@pytest.mark.parametrize("change, sentence", [({"scale": "big"}, "scale is 'big'"), ({"share": {1, 2}}, "'share'")])
def test_wrong_arguments_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure(**change)
    assert not TIMES["measured"]


# --- checkpoints ---


def test_checkpoints_keep_their_own_measurements(folders):
    runs = [{"aligned": "meta/Llama-2"}, {"aligned": "meta/Llama-3", "instructed": "meta/base"}, {"aligned": "../here"}]
    for checkpoints in runs * 2:
        measure(scale="paper", checkpoints=checkpoints)
    names = sorted(file.name for file in file_of(folders).parent.iterdir())
    assert TIMES["measured"] == 3
    assert names == ["paper.----here-seed0.json", "paper.meta--Llama-2-seed0.json", "paper.meta--Llama-3-seed0.json"]


def test_another_precision_of_a_checkpoint_is_measured_anew(monkeypatch):
    aligned = {"checkpoints": {"aligned": "meta/Llama-2"}, "scale": "paper"}
    measure(**aligned)
    monkeypatch.setenv("SSAH_DTYPE", "float32")
    assert measure(**aligned).value[1] == 2.0


def test_checkpoints_without_the_one_that_is_measured_are_refused():
    with pytest.raises(ValueError, match="but the one that is measured is 'aligned'"):
        measure(scale="paper", checkpoints={"instructed": "meta/base"})


@pytest.mark.parametrize("workers, beside", [("", []), ("2", [2])])
def test_checkpoints_are_measured_one_after_another_unless_asked_otherwise(monkeypatch, workers, beside):
    monkeypatch.setenv("SSAH_WORKERS", workers)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    started = []
    monkeypatch.setattr("ssah_core.records.measurements.map_runs",
                        lambda function, runs, *_, **more: started.append(len(runs)))
    measure_each(removal, [0, 1], "paper", checkpoints={"aligned": "some/model"})
    assert started == beside


# --- processes ---


def test_two_processes_measure_what_one_does_in_the_order_of_the_seeds(folders, monkeypatch):
    monkeypatch.setenv("SSAH_WORKERS", "2")
    beside = measure_each(stages.losses, [1, 0], "tiny")
    assert list(dict.fromkeys(beside.seed)) == [1, 0]
    forget_cache(folders)
    monkeypatch.setenv("SSAH_RECORDS", "ignore")
    monkeypatch.setenv("SSAH_WORKERS", "1")
    pandas.testing.assert_frame_equal(measure_each(stages.losses, [1, 0], "tiny"), beside)


def test_an_error_in_a_worker_is_the_callers(monkeypatch):
    monkeypatch.setenv("SSAH_WORKERS", "2")
    with pytest.raises(ValueError, match="scale is 'huge'"):
        measure_each(stages.losses, [0, 1], "huge")


def test_kept_rows_of_a_run_are_those_that_answer_its_question():
    run = Run(removal, 0, "tiny", "", {})
    assert kept_rows(run) is None
    measure(scale="tiny")
    assert kept_rows(run)["rows"][0]["value"] == 0.41


@pytest.mark.parametrize("content", ['{"format": 3, "rows": [{"metric": "x", "value": 1}]}', "[]", "null", "{}"])
def test_a_file_of_another_format_is_left_alone(folders, content):
    file = file_of(folders)
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(ValueError, match="is no file of rows of format 2, which this code reads and writes"):
        measure()
    assert file.read_text() == content


def test_a_second_study_of_one_name_is_refused():
    def other(seed, scale):
        return [ROW]

    other.__qualname__ = "other"  # as in a module
    with pytest.raises(ValueError, match="two studies have the name 'removal', .*removal and .*other: rename one"):
        study("removal", version=1)(other)

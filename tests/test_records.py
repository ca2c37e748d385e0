"""Measurements are computed once for a key, records hold what claims need, and neither hides damage."""

import json

import numpy
import pandas
import pytest

from ssah_core.records import cache
from ssah_core.records.measurements import measure
from ssah_core.records.records import load_records, record

ROW = {"seed": 0, "group": "SCU", "share": 0.03, "metric": "harm_right", "judge": "truth", "value": 0.41, "n": 276}
COMMON = dict(seeds=[0, 1, 2], unit="points", n=276, judge="truth", scale="organism", model="organism",
              code="ssah_core.records.statistics")
SCU = "table1/scu/harm_right"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "figures"))
    monkeypatch.delenv("SSAH_RECORDS", raising=False)
    return tmp_path


class Study:
    """Counts how often it is computed; each time its value differs."""

    def __init__(self):
        self.runs = 0

    def compute(self):
        self.runs += 1
        return [ROW, {**ROW, "group": "RU", "value": float(self.runs)}]

    def measure(self, **changes):
        settings = dict(study="removal", seed=0, scale="organism", code="ssah_core.records.statistics", share=0.03) | changes
        return measure(settings.pop("study"), self.compute, **settings)


@pytest.fixture
def study():
    return Study()


def file_of(folders, name="organism-seed0"):
    return folders / "figures" / "measurements" / "removal" / f"{name}.json"


def forget_cache(folders):
    (folders / "cache").rename(folders / f"old-{len(list(folders.iterdir()))}")


def test_equal_studies_are_computed_once(study):
    first, second = study.measure(), study.measure()
    assert study.runs == 1
    pandas.testing.assert_frame_equal(first, second)
    assert first.value.tolist() == [0.41, 1.0] and first.group.tolist() == ["SCU", "RU"]


@pytest.mark.parametrize("change", [
    {"share": 0.06}, {"seed": 1}, {"scale": "tiny"}, {"study": "freezing"}, {"criterion": "fisher"},
    {"code": "ssah_core.records.paths"}])
def test_other_settings_are_computed_anew(study, change):
    study.measure()
    assert study.measure(**change).value[1] == 2.0
    study.measure(**change)
    assert study.runs == 2


def test_other_code_is_computed_anew_and_replaces_the_file(study, folders, monkeypatch):
    study.measure()
    monkeypatch.setattr(cache, "code_version", lambda module: "changed")
    assert study.measure().value[1] == 2.0
    content = json.loads(file_of(folders).read_text())
    assert content["settings"]["code_version"] == "changed" and content["rows"][1]["value"] == 2.0


def test_the_file_says_how_it_came_about(study, folders):
    study.measure()
    content = json.loads(file_of(folders).read_text())
    assert set(content) == {"key", "settings", "versions", "date", "rows"}
    assert content["settings"] == {
        "study": "removal", "seed": 0, "scale": "organism", "share": 0.03, "code": "ssah_core.records.statistics",
        "code_version": cache.code_version("ssah_core.records.statistics")}
    assert set(content["versions"]) == {"torch", "transformers"}
    assert content["key"] == cache.key(content["settings"])


def test_a_committed_file_spares_the_computation(study, folders):
    study.measure()
    forget_cache(folders)
    before = file_of(folders).read_bytes()
    assert study.measure().value[1] == 1.0 and study.runs == 1
    assert file_of(folders).read_bytes() == before


def test_a_committed_file_of_another_key_is_not_used(study, folders):
    study.measure()
    content = json.loads(file_of(folders).read_text())
    file_of(folders).write_text(json.dumps({**content, "key": "another"}))
    forget_cache(folders)
    assert study.measure().value[1] == 2.0
    assert json.loads(file_of(folders).read_text())["key"] == content["key"]


def test_a_cached_study_restores_its_file_with_the_date_of_its_computation(study, folders):
    study.measure()
    before = file_of(folders).read_bytes()
    file_of(folders).unlink()
    assert study.measure().value[1] == 1.0 and study.runs == 1
    assert file_of(folders).read_bytes() == before


def test_ignoring_records_computes_although_a_file_is_committed(study, folders, monkeypatch):
    study.measure()
    forget_cache(folders)
    monkeypatch.setenv("SSAH_RECORDS", "ignore")
    assert study.measure().value[1] == 2.0
    assert json.loads(file_of(folders).read_text())["rows"][1]["value"] == 2.0


def test_what_was_read_from_a_file_does_not_reach_the_cache(study, folders, monkeypatch):
    """Otherwise `ignore` would read a committed number by a detour."""
    study.measure()
    forget_cache(folders)
    study.measure()
    monkeypatch.setenv("SSAH_RECORDS", "ignore")
    assert study.measure().value[1] == 2.0


def test_a_misspelt_wish_is_an_error(study, monkeypatch):
    monkeypatch.setenv("SSAH_RECORDS", "ingore")
    with pytest.raises(ValueError, match="SSAH_RECORDS is 'ingore'"):
        study.measure()
    assert study.runs == 0


@pytest.mark.parametrize("damage", [
    "", "{", "[]", "null", '{"key": "KEY"}', '{"key": "KEY", "rows": []}', '{"key": "KEY", "rows": "abc"}',
    '{"key": "KEY", "rows": [{"metric": "asr"}]}', '{"key": "KEY", "rows": [{"metric": "asr", "value": NaN}]}'])
def test_a_damaged_file_is_measured_again(study, folders, damage):
    study.measure()
    forget_cache(folders)
    file_of(folders).write_text(damage.replace("KEY", json.loads(file_of(folders).read_text())["key"]))
    assert study.measure().value[1] == 2.0
    assert json.loads(file_of(folders).read_text())["rows"][1]["value"] == 2.0


def test_a_damaged_cache_says_what_to_do(study, folders):
    study.measure()
    file_of(folders).unlink()
    next((folders / "cache").rglob("rows.json")).write_text("{")
    with pytest.raises(ValueError, match="delete that folder"):
        study.measure()


@pytest.mark.parametrize("rows, sentence", [
    ([], "no rows"), ([{"metric": "asr"}], "row 0 is"), ([ROW, {"value": 0.1}], "row 1 is"),
    ([{**ROW, "value": float("nan")}], "finite"), ([{**ROW, "value": float("inf")}], "finite"),
    ([{**ROW, "share": numpy.float64("nan")}], "finite"), ([{**ROW, "value": None}], "row 0 is"),
    ([{**ROW, "value": True}], "row 0 is"), ([{**ROW, "value": "0.4"}], "row 0 is")])
def test_bad_rows_are_refused_and_nothing_is_written(folders, rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        measure("removal", lambda: rows, seed=0, scale="organism", code="ssah_core.records.statistics")
    assert not list(folders.rglob("*.json"))


def test_a_study_that_fails_writes_nothing_and_can_be_run_again(study, folders):
    def fail():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        measure("removal", fail, seed=0, scale="organism", code="ssah_core.records.statistics", share=0.03)
    assert not list(folders.rglob("*.json"))
    assert study.measure().value[1] == 1.0


def test_numpy_numbers_are_kept_exactly(folders):
    row = {"metric": "asr", "value": numpy.float64(1 / 3), "n": numpy.int64(7)}
    frame = measure("removal", lambda: [row], seed=0, scale="organism", code="ssah_core.records.statistics")
    assert frame.value[0] == 1 / 3 and frame.n[0] == 7
    assert measure("removal", lambda: [], seed=0, scale="organism", code="ssah_core.records.statistics").value[0] == 1 / 3


@pytest.mark.parametrize("change, sentence", [
    ({"study": "../outside"}, "study is '../outside'"), ({"study": ""}, "study is ''"),
    ({"scale": "big"}, "scale is 'big'"), ({"code": "ssah_core.nowhere"}, "ssah_core.nowhere"),
    ({"share": {1, 2}}, "'share'")])
def test_measure_refuses_wrong_arguments(study, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        study.measure(**change)
    assert study.runs == 0


ALIGNED = {"checkpoints": {"aligned": "meta/Llama-2"}, "scale": "paper"}


@pytest.fixture
def material(monkeypatch):
    """The code versions of modules, that of a checkpoint's data among them."""
    versions = {"ssah_core.records.statistics": "1", "ssah_core.studies.checkpoints": "1"}
    monkeypatch.setattr(cache, "code_version", versions.__getitem__)
    return versions


def test_checkpoints_keep_their_own_measurements(study, folders, material):
    runs = [{"aligned": "meta/Llama-2"}, {"aligned": "meta/Llama-3", "instructed": "meta/base"}, {"aligned": "../here"}]
    for checkpoints in runs * 2:
        study.measure(checkpoints=checkpoints, scale="paper")
    assert study.runs == 3
    names = sorted(file.name for file in file_of(folders).parent.iterdir())
    assert names == ["paper.----here-seed0.json", "paper.meta--Llama-2-seed0.json", "paper.meta--Llama-3-seed0.json"]


def test_a_checkpoint_is_measured_anew_with_other_data_and_an_organism_is_not(study, folders, material):
    study.measure(**ALIGNED)
    study.measure()
    material["ssah_core.studies.checkpoints"] = "2"
    study.measure()
    assert study.runs == 2
    study.measure(**ALIGNED)
    settings = json.loads(file_of(folders, "paper.meta--Llama-2-seed0").read_text())["settings"]
    assert study.runs == 3 and settings["material"] == "2" and settings["checkpoints"] == ALIGNED["checkpoints"]


def test_no_checkpoints_are_as_if_they_were_not_named(study, folders):
    study.measure()
    study.measure(checkpoints=None)
    settings = json.loads(file_of(folders).read_text())["settings"]
    assert study.runs == 1 and not {"checkpoints", "material"} & set(settings)


def test_checkpoints_without_the_one_that_is_measured_are_refused(study):
    with pytest.raises(ValueError, match="but the one that is measured is 'aligned'"):
        study.measure(checkpoints={"instructed": "meta/base"}, scale="paper")


def test_a_record_holds_mean_interval_and_what_it_rests_on():
    made = record(SCU, [40.0, 50.0, 60.0], **COMMON)
    half = 4.3026527 * 10 / 3**0.5  # t quantile 0.975 of 2 degrees of freedom
    assert made.value == pytest.approx(50) and made.interval == pytest.approx((50 - half, 50 + half))
    assert made.values == (40, 50, 60) and made.seeds == (0, 1, 2) and made.n == 276
    assert made.code_version == cache.code_version("ssah_core.records.statistics")


def test_records_come_back_as_they_were(folders):
    one = {**COMMON, "seeds": [4], "note": "one organism"}
    made = [record(SCU, [40.0, 50.0, 60.1], **COMMON), record("table1/ru/utility", [-1 / 3], **one)]
    assert sorted(load_records(), key=lambda r: r.claim) == sorted(made, key=lambda r: r.claim)
    names = {file.name for file in (folders / "figures" / "records").iterdir()}
    assert names == {"table1.scu.harm_right.organism.json", "table1.ru.utility.organism.json"}
    assert load_records(folders / "figures" / "records") == load_records()


def test_no_records_are_an_empty_list(folders):
    assert load_records() == [] and load_records(folders / "nowhere") == []


def test_values_by_seed_follow_the_order_of_seeds():
    assert record(SCU, {2: 3.0, 0: 1.0, 1: 2.0}, **COMMON).values == (1, 2, 3)


def test_one_organism_is_recorded_without_interval():
    made = record(SCU, [40.0], **{**COMMON, "seeds": [0]})
    assert made.interval is None and made.method == "one run, no interval"


def test_checkpoints_and_scales_keep_their_own_files(folders):
    runs = [("organism", "organism"), ("tiny", "organism"), ("paper", "meta/Llama-2"), ("paper", "meta/Llama-3")]
    for scale, model in runs:
        record(SCU, [1.0, 2.0, 3.0], **{**COMMON, "scale": scale, "model": model})
    assert len(load_records()) == 4
    assert (folders / "figures" / "records" / "table1.scu.harm_right.paper.meta--Llama-2.json").exists()


@pytest.mark.parametrize("values, change, sentence", [
    ([1, 2], {}, "one value for each seed"), ({0: 1.0, 1: 2.0, 3: 3.0}, {}, "one value for each seed"),
    ([1, 2, float("nan")], {}, "values is"), ([1, 1, 1], {"seeds": [0, 1, 1]}, "each once"),
    ([], {"seeds": []}, "at least 1 seed"), ([1, 2, 3], {"n": 0}, "n is 0"), ([1, 2, 3], {"unit": "%"}, "unit is '%'"),
    ([1, 2, 3], {"scale": "big"}, "scale is 'big'")])
def test_record_refuses_wrong_arguments(folders, values, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        record(SCU, values, **{**COMMON, **change})
    assert not list(folders.rglob("*.json"))


def test_an_unknown_claim_names_the_nearest(folders):
    with pytest.raises(ValueError, match="table1/scu/harm_right"):
        record("table1/scu/harm_rihgt", [1, 2, 3], **COMMON)
    assert not list(folders.rglob("*.json"))


@pytest.mark.parametrize("change", [
    {"value": 99.0}, {"interval": None}, {"interval": [49.0, 51.0]}, {"values": [40.0, float("nan"), 60.0]},
    {"values": []}, {"surprise": 1}])
def test_a_record_changed_by_hand_is_refused(folders, change):
    record(SCU, [40.0, 50.0, 60.0], **COMMON)
    file = next((folders / "figures" / "records").iterdir())
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match="record table1.scu.harm_right.organism.json is damaged"):
        load_records()


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", "{}"])
def test_a_damaged_record_is_refused(folders, damage):
    record(SCU, [40.0, 50.0, 60.0], **COMMON)
    next((folders / "figures" / "records").iterdir()).write_text(damage)
    with pytest.raises(ValueError, match="table1.scu.harm_right.organism.json is damaged"):
        load_records()

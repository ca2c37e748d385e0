"""Records hold what claims need, and hide no damage."""

import json

import pandas
import pytest

from ssah_core.records.claim_list import list_claims
from ssah_core.records.records import load_records, record, record_rows
from ssah_core.records.statistics import LIMITS

COMMON = dict(seeds=[0, 1, 2], unit="points", n=276, judge="truth", scale="organism", model="organism",
              code="ssah_core.records.statistics")
SCU = "table1/scu/harm_right"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "figures"))
    return tmp_path


def test_a_record_holds_mean_interval_and_what_it_rests_on():
    values = [40.0, 50.0, 60.0, 45.0, 55.0, 50.0]
    made = record(SCU, values, **{**COMMON, "seeds": range(6), "orders": 3})
    assert made.value == pytest.approx(50) and made.interval == (40, 60)  # of six, the least and the most
    assert made.method == "95 % by sign flips of 6 organisms"
    assert made.values == tuple(values) and made.seeds == tuple(range(6)) and (made.n, made.orders) == (276, 3)
    assert made.code == "ssah_core.records.statistics"


def test_records_come_back_as_they_were(folders):
    one = {**COMMON, "seeds": [4], "orders": 3}
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


@pytest.mark.parametrize("organisms", range(2, 6))
def test_of_too_few_organisms_the_interval_is_all_that_can_be_in_every_unit(organisms):
    for id, unit in {claim.unit: (claim.record, claim.unit) for claim in list_claims()}.values():
        made = record(id, [0.0] * (organisms - 1) + [1.0], **{**COMMON, "seeds": range(organisms), "unit": unit})
        assert made.interval == LIMITS[unit] and f"{organisms} organisms are too few" in made.method
    assert len(load_records()) == len(LIMITS)


def test_a_number_may_grow_by_more_than_all_of_it():
    made = record("transfer_thresholds/new/ru_size", [1200.0, -100.0, 30.0] * 2, **{
        **COMMON, "seeds": range(6), "unit": "change"})
    assert load_records() == [made]


def test_a_table_with_orders_is_kept_with_the_least_of_them():
    table = pandas.DataFrame([(SCU, seed, 50.0, 100 + seed, "truth", 3 - seed) for seed in (0, 1, 2)] + [
        ("no.claim", 0, 1.0, 9, "none", 3)], columns=["record", "seed", "value", "n", "judge", "orders"])
    about = {name: COMMON[name] for name in ("scale", "model", "code")}
    (made,) = record_rows(table, **about)
    assert (made.orders, made.n, made.seeds) == (1, 100, (0, 1, 2))
    assert record_rows(table.drop(columns="orders"), **about)[0].orders == 1


@pytest.mark.parametrize("column", ["judge", "code"])
def test_a_record_has_one_judge_and_one_module(column, folders):
    table = pandas.DataFrame({"record": SCU, "seed": [0, 1, 2], "value": 50.0, "n": 100, "judge": "truth", "code": "a"})
    about = {name: COMMON[name] for name in ("scale", "model", "code")}
    assert record_rows(table, **about)[0].code == "a"
    table.loc[2, column] = "another"
    with pytest.raises(ValueError, match=f"rows of record '{SCU}' have 2 values of '{column}', .*'another'.*: one"):
        record_rows(table, **about)


def test_checkpoints_and_scales_keep_their_own_files(folders):
    runs = [("organism", "organism"), ("tiny", "organism"), ("paper", "meta/Llama-2"), ("paper", "meta/Llama-3")]
    for scale, model in runs:
        record(SCU, [1.0, 2.0, 3.0], **{**COMMON, "scale": scale, "model": model})
    assert len(load_records()) == 4
    assert (folders / "figures" / "records" / "table1.scu.harm_right.paper.meta--Llama-2.json").exists()


@pytest.mark.parametrize("values, change, sentence", [
    ([1, 2], {}, "one value for each seed"), ({0: 1.0, 1: 2.0, 3: 3.0}, {}, "one value for each seed"),
    ([1, 2, float("nan")], {}, "values.2.=nan is not"), ([1, 1, 1], {"seeds": [0, 1, 1]}, "each once"),
    ([], {"seeds": []}, "least 1 seed"), ([1, 2, 3], {"n": 0}, "n=0 is no"), ([1, 2, 3], {"unit": "%"}, "unit is '%'"),
    ([1, 2, 3], {"scale": "big"}, "scale is 'big'"), ([1, 2, 3], {"orders": 0}, "orders=0 is no"),
    ([1, 2, 300], {}, "pass effects from -100 to 100")])
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
    {"values": []}, {"surprise": 1}, {"unit": "fraction"}, {"orders": "3"}, {"orders": 1.5}])
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

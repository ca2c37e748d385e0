"""The catch of a claim: of headlines alone, with numbers of records that claims read."""

from string import Formatter

from ssah_core.records import catches, load_records
from ssah_core.records.claim_list import list_claims, list_records


def test_every_catch_is_of_a_headline_and_names_records_that_claims_read():
    assert catches.CATCHES.keys() <= {claim.id for claim in list_claims() if claim.headline}
    named = {name for text in catches.CATCHES.values() for _, name, _, _ in Formatter().parse(text) if name}
    assert named and named <= list_records().keys()


def test_numbers_are_those_of_the_records():
    records = load_records()
    known = next(record for record in records if record.claim == "table4/sft/best_rate/all/old")
    told = catches.told(records)["table4/sft/best_rate/ru_vs_all/old"]
    assert f"keep {known.value:.1f} % [" in told


def test_a_number_that_is_not_there_says_so_in_either_form():
    record = next(record for record in load_records() if (record.scale, record.model) == ("organism", "organism"))
    assert catches.filled(f"{{{record.claim}:range}}", [record]).count(" to ") == 1
    assert catches.filled("{none/such}, {none/such:range}", [record]) == "not measured, not measured"


def test_a_catch_without_its_numbers_is_not_told():
    records = [record for record in load_records() if record.claim != "table1/scu/share"]
    assert "table1/scu/harm_right" not in catches.told(records)
    assert "table1/scu/harm_right" in catches.told(load_records())

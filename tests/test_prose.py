"""Sentences from values: one unit, bounds that are possible, tables without dicts or missing numbers."""

import pytest

from ssah_core import load_records, verdicts
from ssah_core.records import mean_interval, prose


def test_a_level_keeps_its_bounds_inside_0_to_100_and_a_change_inside_100_points():
    assert prose.percent([0, 0, 0, 0, 5]) == "1.0 % [0.0, 3.8]"
    assert prose.points([-98, -100, -100]) == "-99.3 points [-100.0, -96.5]"
    assert mean_interval([-98, -100, -100]).bounds[0] < -100
    text = prose.verdict_table(verdicts(load_records()), "05_freeze_safety_units")
    assert "+98.6 [96.9, 100.0]" in text


def test_a_level_out_of_range_is_refused():
    with pytest.raises(ValueError, match="from 0 to 100.*points"):
        prose.percent([50, -3])


def test_nothing_is_minus_zero():
    assert prose.points([-0.01, -0.01]) == "0.0 points [0.0, 0.0]" and prose.each([-0.2], sign=True) == "0"


def test_one_organism_has_no_interval():
    assert prose.points([3]) == "+3.0 points (one run, no interval)"


def test_a_table_of_verdicts_reads_as_a_page():
    text = prose.verdict_table(verdicts(load_records()), "05_freeze_safety_units")
    lines = text.splitlines()
    assert {line.count(" | ") for line in lines} == {5} and len(lines) > 10
    assert "5 organisms, 100 prompts each, judge keyword:qi2023" in text and "-8.9 (Llama-2-7B-Chat)" in text
    assert not any(bad in text for bad in ("nan", "None", "{", "np."))


def test_claims_without_records_say_so_and_a_wrong_notebook_is_named():
    assert prose.verdict_table(verdicts([]), "03_label_units").splitlines()[2].endswith("| – | – | – | **not run** |")
    with pytest.raises(ValueError, match="'03_label'.*03_label_units"):
        prose.verdict_table(verdicts([]), "03_label")

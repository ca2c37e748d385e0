"""Sentences from values: one unit, bounds that are possible, tables without dicts or missing numbers."""

import pytest
from made_up import made

from ssah_core import verdicts
from ssah_core.records import prose
from ssah_core.records.claim_list import get_claim, list_claims


def test_an_interval_is_inside_what_is_possible():
    assert prose.percent([0, 0, 0, 0, 0, 5]) == "0.8 % [0.0, 5.0]"
    assert prose.points([-98, -100, -100, -99, -100, -100]) == "-99.5 points [-100.0, -98.0]"


def test_of_fewer_than_six_organisms_it_is_said_that_there_is_none():
    assert prose.percent([94.5, 99]) == "96.8 % (94.5 to 99.0 in 2 organisms)"
    assert prose.points([-98, -100, -100]) == "-99.3 points (-100.0 to -98.0 in 3 organisms)"
    assert prose.points([3]) == "+3.0 points (one run, no interval)"


def test_a_level_out_of_range_is_refused():
    with pytest.raises(ValueError, match="from 0 to 100.*points"):
        prose.percent([50, -3])


def test_nothing_is_minus_zero():
    assert prose.points([-0.01] * 6) == "0.0 points [0.0, 0.0]" and prose.each([-0.2], sign=True) == "0"


CLAIMS = [claim for claim in list_claims() if claim.notebook == "05_freeze_safety_units"]


def test_a_table_of_verdicts_reads_as_a_page(registered):
    kept = [made(f"table2/benign/scu_6cu_vs_{other}/asr", *(-60, -50, -40, -30, -20) * 2, judge="keyword:qi2023", n=100,
                 orders=3) for other in ("random", "nothing")]
    text = prose.verdict_table(verdicts(kept), "05_freeze_safety_units")
    lines = text.splitlines()
    assert {line.count(" | ") for line in lines} == {5} and len(lines) == 2 + len(CLAIMS)
    (said,) = [line for line in lines if line.startswith(f"| {get_claim(kept[0].claim).statement} (")]
    assert said.endswith("| no number | -40.0 [-50.0, -30.0] | – | 10 organisms, 100 prompts each, judge "
                         "keyword:qi2023 | **holds** |")
    assert "-8.9 (Llama-2-7B-Chat)" in text and not any(bad in text for bad in ("nan", "None", "{", "np."))


def test_every_unit_can_be_written(registered):
    for claim in {claim.unit: claim for claim in list_claims()}.values():
        text = prose.verdict_table(verdicts([made(claim.record, 0.5, 0.25), *(
            [made(claim.control, 0.0, 0.0)] if claim.control else [])]), claim.notebook)
        assert "(2 organisms, too few for an interval)" in text, claim.unit


def test_claims_without_records_say_so_and_a_wrong_notebook_is_named():
    assert prose.verdict_table(verdicts([]), "03_label_units").splitlines()[2].endswith("| – | – | – | **not run** |")
    with pytest.raises(ValueError, match="'03_label'.*03_label_units"):
        prose.verdict_table(verdicts([]), "03_label")

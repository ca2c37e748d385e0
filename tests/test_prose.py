"""Sentences from values: one unit, bounds that are possible, tables without dicts or missing numbers."""

import math

import pytest
from made_up import made

from ssah_core import verdicts
from ssah_core.records import prose
from ssah_core.records.claim_list import get_claim, list_claims
from ssah_core.records.claims_table import verdict_table


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
    assert prose.points([-0.01] * 6) == "0.0 points (alike in all 6)" and prose.each([-0.2], sign=True) == "0"


CLAIMS = [claim for claim in list_claims() if claim.notebook == "05_freeze_safety_units"]


def test_a_table_of_verdicts_reads_as_a_page(registered):
    kept = [made(f"table2/benign/scu_6cu_vs_{other}/asr", *(-60, -50, -40, -30, -20) * 2, judge="keyword:qi2023", n=100,
                 orders=3) for other in ("random", "nothing")]
    text = verdict_table(verdicts(kept), "05_freeze_safety_units")
    lines = text.splitlines()
    assert {line.count(" | ") for line in lines} == {5} and len(lines) == 2 + len(CLAIMS)
    (said,) = [line for line in lines if line.startswith(f"| {get_claim(kept[0].claim).statement} (")]
    assert said.endswith("| no number | -40.0 [-50.0, -30.0] | – | 10 organisms, 100 prompts each, judge "
                         "keyword:qi2023 | **holds** |")
    assert "-8.9 (Llama-2-7B-Chat)" in text and not any(bad in text for bad in ("nan", "None", "{", "np."))


def test_every_unit_can_be_written(registered):
    for claim in {claim.unit: claim for claim in list_claims()}.values():
        text = verdict_table(verdicts([made(claim.record, 0.5, 0.25), *(
            [made(claim.control, 0.0, 0.0)] if claim.control else [])]), claim.notebook)
        assert "(2 organisms, too few for an interval)" in text, claim.unit


def test_claims_without_records_say_so_and_a_wrong_notebook_is_named():
    assert verdict_table(verdicts([]), "03_label_units").splitlines()[2].endswith("| – | – | – | **not run** |")
    with pytest.raises(ValueError, match="'03_label'.*03_label_units"):
        verdict_table(verdicts([]), "03_label")


def test_a_prediction_stands_beside_what_was_found():
    assert prose.guessed(None, 98.6, "%") == ""  # so that nothing changes where nobody predicted
    assert prose.guessed(40, 98.6, "%") == "\n\nYou predicted 40 %; it is 98.6 %, 58.6 more."
    assert prose.guessed(-3, -5.62, "points").strip() == "You predicted -3 points; it is -5.6 points, 2.6 less."
    assert prose.guessed(3.5, 0, "points").strip() == "You predicted +3.5 points; it is 0.0 points, 3.5 less."
    assert prose.guessed(10, 10.4, "steps").strip() == "You predicted 10 steps; it is 10 steps, as you said."
    assert prose.guessed(10, math.inf, "steps").strip() == "You predicted 10 steps; it is never reached."
    assert prose.guessed(10, math.nan, "steps").strip() == "You predicted 10 steps; it was not measured here."


@pytest.mark.parametrize("guess", ["40 %", True, math.nan, math.inf, [40]])
def test_a_prediction_that_is_no_number_is_refused(guess):
    with pytest.raises(ValueError, match=r"^guess is .*, which is no number: write one, such as guess = 40, or None"):
        prose.guessed(guess, 98.6, "%")

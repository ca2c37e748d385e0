"""What a run found: beside what is committed, inside what is possible, and never invented."""

import pytest
from made_up import made

from ssah_core.records.claim_list import get_claim, list_claims
from ssah_core.records.findings import describe
from ssah_core.records.telling import in_words

SCU, RANDOM = "table1/scu/harm_right", "table1/random_scu/harm_right"
MORALS = "table1/scu/morals"
HEADLINES = [claim for claim in list_claims() if claim.headline]


def line(lines: list[str], id: str) -> str:
    (found,) = [line for line in lines if line.startswith(f"- {in_words(get_claim(id))} ")]
    return found


COMMITTED = [made(SCU, 100, 99, 93, 100, 99, 98), made(RANDOM, 0, 0, 1, 0, 0, -1), made(MORALS, 0.0, -1.0, -2.0)]


def test_an_effect_stands_beside_the_committed_one_and_its_interval():
    lines = describe([made(SCU, 97.96), made(RANDOM, -0.04), made(MORALS, -1.5)], COMMITTED, scale="organism")
    assert line(lines, SCU).endswith("Here: +98.0; committed: +98.2 [92.0, 100.0]")
    assert line(lines, MORALS).endswith("Here: -1.5; committed: -1.0 (3 organisms, too few for an interval)")


def test_a_run_of_six_has_an_interval_of_its_own():
    lines = describe(COMMITTED[:2], [], scale="organism")
    assert line(lines, SCU).endswith("Here: +98.2 [92.0, 100.0]; nothing committed")


def test_a_difference_of_cosine_distances_has_three_decimals_and_one_of_levels_is_in_points():
    gap, flips = "direction/intent/turned/gap", "patching/before_last/flips"
    kept = [made("direction/intent/aligned/gap", 0.2), made("direction/intent/instructed/gap", 0.05), made(flips, 97.0),
            made("patching/before_last/same_side", 2.0)]
    lines = describe(kept, [], scale="organism")
    assert "Here: +0.150; " in line(lines, gap) and "Here: +95.0; " in line(lines, flips)


@pytest.mark.parametrize("there", [[SCU], [RANDOM]])
def test_what_is_missing_is_said_to_be_missing(there):
    lines = describe([made(id, 98.0) for id in there], [made(MORALS, -1.0)], scale="organism")
    assert line(lines, SCU).endswith("Here: not measured (notebook 03); nothing committed")
    assert line(lines, MORALS).endswith("Here: not measured (notebook 03); committed: -1.0")
    assert sum("not measured" in line for line in lines) == len(HEADLINES)


def test_the_heading_says_what_was_run_and_what_is_committed():
    assert describe([made(SCU, 98.0)], COMMITTED, scale="organism")[0].startswith(
        "Found in 1 organism. Committed: mean of 3 to 6 organisms [")
    tiny = describe([made(SCU, 9.0, 8.0, scale="tiny")], [], scale="tiny")[0]
    assert tiny.startswith("Found in 2 organisms, at scale tiny, which proves that the code runs")
    assert "no organism" in tiny
    assert describe([], COMMITTED, scale="paper", model="some/model")[0].startswith("Found in some/model. Committed")


def test_records_of_another_scale_or_model_do_not_count():
    others = [made(id, value, scale=scale, model=model) for scale, model, value in
              (("tiny", "organism", 1.0), ("paper", "some/model", 2.0)) for id in (MORALS,)]
    lines = describe([*others, made(MORALS, -1.5)], [*others, *COMMITTED], scale="organism")
    assert line(lines, MORALS).endswith("Here: -1.5; committed: -1.0 (3 organisms, too few for an interval)")
    assert "Here: +2.0; " in line(describe(others, COMMITTED, scale="paper", model="some/model"), MORALS)


def test_there_is_a_line_for_each_claim_of_the_first_table():
    lines = describe([], [], scale="organism")
    assert len(lines) == len(HEADLINES) + 1 == 11
    assert all(made.startswith(f"- {in_words(claim)} Here: ") for made, claim in zip(lines[1:], HEADLINES, strict=True))

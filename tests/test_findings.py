"""What a run found: beside what is committed, inside what is possible, and never invented."""

import pytest

from ssah_core.records import paths
from ssah_core.records.claim_list import get_claim, list_records
from ssah_core.records.findings import FINDINGS, LIMITS, describe
from ssah_core.records.records import Record, load_records
from ssah_core.records.statistics import mean_interval

SCU, RANDOM = "table1/scu/harm_right", "table1/random_scu/harm_right"
PREFILL = "deep/aligned/prefill_5/asr"


def made(claim: str, *values: float, scale: str = "organism", model: str = "organism") -> Record:
    interval = mean_interval(values)
    return Record(claim, interval.mean, list_records()[claim], interval.bounds, interval.method, values,
                  tuple(range(len(values))), 100, "truth", scale, model, "ssah_core.studies.ablation_table", "0")


def line(lines: list[str], words: str) -> str:
    (found,) = [line for line in lines if words in line]
    return found


COMMITTED = [made(SCU, 100.0, 99.0, 93.0, 100.0, 99.0), made(PREFILL, 100.0, 100.0, 97.0)]


def test_a_value_stands_beside_the_committed_one_and_its_interval_inside_what_is_possible():
    assert mean_interval(COMMITTED[0].values).high > 100 and mean_interval(COMMITTED[1].values).high > 100
    lines = describe([made(SCU, 97.96), made(RANDOM, -0.04), made(PREFILL, 98.0)], COMMITTED, scale="organism")
    assert line(lines, "right answers") == (
        "- Without SCU, right answers to malicious requests change by +98.0 points (random units: +0.0); "
        "committed +98.2 [+94.5, +100.0]")
    assert line(lines, "five tokens") == (
        "- Once five tokens of the answer are said, 98.0 % of malicious requests are answered; "
        "committed 99.0 [94.7, 100.0]")


def test_what_is_missing_is_said_to_be_missing():
    lines = describe([made(SCU, 98.0)], [made(SCU, 99.0)], scale="organism")
    assert line(lines, "right answers").endswith("(random units: not measured); committed +99.0 [no "
                                                 "interval]")
    assert line(lines, PREFILL) == (
        f"- {PREFILL}: not measured in this run (notebook 08_re_evaluate_direction); nothing committed")
    assert sum("not measured in this run" in line for line in lines) == len(FINDINGS) - 1


def test_the_heading_says_what_was_run_and_what_is_committed():
    assert describe([made(SCU, 98.0)], COMMITTED, scale="organism")[0].startswith(
        "Found in 1 organism. Committed: mean of 3 to 5 organisms [")
    tiny = describe([made(SCU, 9.0, 8.0, scale="tiny")], [], scale="tiny")[0]
    assert tiny.startswith("Found in 2 organisms, at scale tiny, which proves that the code runs")
    assert "no organism" in tiny
    assert describe([], COMMITTED, scale="paper", model="some/model")[0].startswith("Found in some/model. Committed")


def test_records_of_another_scale_or_model_do_not_count():
    others = [made(SCU, 1.0, scale="tiny"), made(SCU, 2.0, scale="paper", model="some/model")]
    lines = describe([*others, made(SCU, 98.0)], [*others, *COMMITTED], scale="organism")
    assert "+98.0" in line(lines, "right answers") and "committed +98.2" in line(lines, "right answers")
    assert "+2.0" in line(describe(others, COMMITTED, scale="paper", model="some/model"), "right answers")


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: finding.claim)
def test_a_finding_is_of_a_claim_and_names_its_control_where_it_has_one(finding):
    claim, units = get_claim(finding.claim), list_records()
    assert claim.unit in LIMITS and "{value}" in finding.says
    assert ("{control}" in finding.says) == bool(finding.control)
    assert not finding.control or units[finding.control] == claim.unit


def test_what_is_committed_has_every_finding():
    lines = describe([], load_records(paths.committed() / "records"), scale="organism")
    assert len(lines) == len(FINDINGS) + 1 and not any("nothing committed" in line for line in lines)

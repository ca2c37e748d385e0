"""The claims agree with the paper's tables, are complete, and none is met where nothing has happened."""

import math

import pytest

from ssah_core.records.claim import PILLARS
from ssah_core.records.claim_list import SECONDARY_CLAIMS, get_claim, list_claims, list_records
from ssah_core.records.effects import FAILS, HOLDS
from ssah_core.records.primary_claims import PRIMARY_CLAIMS
from ssah_core.records.rules import AtLeast, AtMost, Falls, Rises
from ssah_core.records.statistics import LIMITS, Interval

PAPER = {  # Table 1: perplexity, utility and ASR of the dense model, then after pruning each group
    "Llama-2-7B-Chat": {"dense": (6.49, 58.3, 10.0), "scu": (6.76, 56.9, 66.0), "ucu": (180.2, 42.7, 28.3),
                        "ru": (8.32, 55.5, 14.6)},
    "Llama-3-8B-Instruct": {"dense": (7.74, 61.2, 15.5), "scu": (9.06, 57.6, 86.5), "ucu": (269.2, 44.4, 20.0),
                            "ru": (8.52, 60.8, 12.5)},
    "Mistral-7B-Instruct-v0.2": {"dense": (5.59, 66.2, 14.5), "scu": (6.17, 63.3, 62.5), "ucu": (52.7, 40.1, 20.0),
                                 "ru": (8.15, 64.1, 13.0)},
}
TABLE1 = ["table1/scu/asr", "table1/scu/harm_right", "table1/scu/utility", "table1/ucu/utility", "table1/ru/utility",
          "table1/ru/asr", "table1_variance/scu/asr", "table1_variance/scu/harm_right", "table1_variance/scu/utility"]
SMALLER = {"table4/sft/best_rate/ru_vs_all/old"}
"""Claims whose number in the paper is below what counts here: 4.2 points, of the 5 that an effect must have."""


def exactly(value: float) -> Interval:
    return Interval(value, value, value, 20, "all alike")


# -- the paper's numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("id", TABLE1)
@pytest.mark.parametrize("model", PAPER)
def test_changes_are_those_of_the_papers_table(id, model):
    group, metric = id.split("/")[1:]
    column = {"utility": 1, "asr": 2, "harm_right": 2}[metric]  # the paper has no judge of right answers
    change = PAPER[model][group][column] - PAPER[model]["dense"][column]
    assert get_claim(id).paper[model] == pytest.approx(change, abs=0.11)  # rounded before or after the difference


@pytest.mark.parametrize("group", ["scu", "ucu", "ru"])
@pytest.mark.parametrize("model", PAPER)
def test_ratios_are_those_of_the_papers_table(group, model):
    claim, ratio = get_claim(f"table1/{group}/perplexity"), PAPER[model][group][0] / PAPER[model]["dense"][0]
    assert claim.unit == "ratio" and claim.paper[model] == pytest.approx(ratio, abs=0.006)


def test_the_papers_levels_of_the_aligned_models():
    assert get_claim("stages/aligned/asr").paper == {model: groups["dense"][2] for model, groups in PAPER.items()}


def test_no_rule_calls_the_papers_own_numbers_wrong():
    for claim in list_claims():
        if claim.paper:
            mean = math.fsum(claim.paper.values()) / len(claim.paper)
            assert (claim.rule.judge(exactly(mean)) == HOLDS) == (claim.id not in SMALLER), claim.id
            assert claim.rule.meets(mean), claim.id


# -- the rules ---------------------------------------------------------------------------------------------


def test_no_rule_is_met_by_a_model_on_which_nothing_happened():
    for claim in list_claims():
        if isinstance(claim.rule, Rises | Falls):
            assert claim.rule.judge(exactly(0.0)) == FAILS and not claim.rule.meets(0.0), claim.id
    for id, level in (("table1/ucu/perplexity", 1.0), ("stages/instructed/harm_right", 0.0),
                      ("stages/aligned/asr", 100.0), ("patching/best/to_answer", 0.0),
                      ("patching/best/other_position", 95.0)):
        assert get_claim(id).rule.judge(exactly(level)) == FAILS, id


def test_claims_are_complete_and_distinct():
    claims = list_claims()
    assert len({claim.id for claim in claims}) == len(claims) == len(PRIMARY_CLAIMS) + len(SECONDARY_CLAIMS)
    for claim in claims:
        assert claim.statement.endswith((".", ").")) and claim.record and claim.unit in LIMITS, claim.id
        assert claim.unit != "%" or claim.control or isinstance(claim.rule, AtLeast | AtMost), claim.id


def test_primary_claims_are_those_of_a_pillar_and_only_they_are_headlines():
    assert [claim.primary for claim in list_claims()] == [True] * len(PRIMARY_CLAIMS) + [False] * len(SECONDARY_CLAIMS)
    assert list(dict.fromkeys(claim.pillar for claim in PRIMARY_CLAIMS)) == list(PILLARS)
    assert not any(claim.headline for claim in SECONDARY_CLAIMS)
    assert sum(claim.headline for claim in PRIMARY_CLAIMS) == 10
    assert {claim.pillar for claim in PRIMARY_CLAIMS if claim.headline} == set(PILLARS)


def test_no_claim_subtracts_its_own_record():
    for claim in list_claims():
        assert claim.control != claim.record, claim.id


def test_a_record_has_one_unit_whichever_claim_reads_it():
    for claim in list_claims():
        assert {list_records()[id] for id in (claim.record, claim.control) if id} == {claim.unit}, claim.id


def test_an_unknown_claim_names_the_nearest():
    assert get_claim("table1/scu/asr").control == "table1/random_scu/asr"
    with pytest.raises(ValueError, match="'table1/scu/ars'.*table1/scu/asr"):
        get_claim("table1/scu/ars")


def test_what_is_registered_of_a_claim_is_all_but_how_it_is_shown():
    claim = get_claim("table1/ru_over_random/utility")
    assert claim.described() == {
        "id": claim.id, "pillar": "units", "statement": claim.statement, "source": "Table 1",
        "rule": "rises by at least 5 points", "unit": "points", "record": "table1/ru/utility",
        "control": "table1/random_ru/utility", "paper": {}}

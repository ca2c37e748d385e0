"""The registered claims agree with the paper's table, and verdicts follow the written rule."""

import math
from dataclasses import replace

import numpy
import pytest

from ssah_core.records.claim_list import get_claim, list_claims, list_records
from ssah_core.records.records import Record
from ssah_core.records.statistics import (
    NOT_REPRODUCED,
    NOT_RUN,
    PARTLY,
    REPRODUCED,
    VERDICTS,
    AtLeast,
    AtMost,
    mean_interval,
)
from ssah_core.records.verdicts import RULE, verdicts

PAPER = {  # Table 1: perplexity, utility and ASR of the dense model, then after pruning each group
    "Llama-2-7B-Chat": {"dense": (6.49, 58.3, 10.0), "scu": (6.76, 56.9, 66.0), "ucu": (180.2, 42.7, 28.3),
                        "ru": (8.32, 55.5, 14.6)},
    "Llama-3-8B-Instruct": {"dense": (7.74, 61.2, 15.5), "scu": (9.06, 57.6, 86.5), "ucu": (269.2, 44.4, 20.0),
                            "ru": (8.52, 60.8, 12.5)},
    "Mistral-7B-Instruct-v0.2": {"dense": (5.59, 66.2, 14.5), "scu": (6.17, 63.3, 62.5), "ucu": (52.7, 40.1, 20.0),
                                 "ru": (8.15, 64.1, 13.0)},
}
TABLE1 = ["table1/scu/asr", "table1/scu/utility", "table1/ucu/utility", "table1/ru/utility", "table1/ru/asr",
          "table1_variance/scu/asr", "table1_variance/scu/utility"]


def made(id, values, **changes):
    values = tuple(map(float, values))
    interval = mean_interval(values)
    seeds = tuple(range(len(values)))
    found = Record(id, interval.mean, list_records()[id], interval.bounds, interval.method, values, seeds, 276, "truth",
                   "organism", "organism", "ssah_core.records.statistics", "0" * 12)
    return replace(found, **changes)


def row(id, *records):
    table = verdicts(records).set_index("id")
    return table.loc[id]


def effect(values, control=(0, 1, 2)):
    return [made("table1/scu/harm_right", values), made("table1/random_scu/harm_right", control)]


@pytest.mark.parametrize("id", TABLE1)
@pytest.mark.parametrize("model", PAPER)
def test_changes_are_those_of_the_papers_table(id, model):
    group, metric = id.split("/")[1:]
    column = {"utility": 1, "asr": 2}[metric]
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
            assert claim.rule.judge(list(claim.paper.values())) in (REPRODUCED, PARTLY), claim.id


def test_no_rule_is_met_by_a_model_on_which_nothing_happened():
    for claim in list_claims():
        if claim.rule.describe().startswith(("rises", "falls")):
            assert claim.rule.judge([0.0] * 5) == NOT_REPRODUCED, claim.id
    assert get_claim("table1/ucu/perplexity").rule.judge([1.0] * 5) == NOT_REPRODUCED
    assert get_claim("stages/instructed/harm_right").rule.judge([0.0] * 5) == NOT_REPRODUCED
    assert get_claim("stages/aligned/asr").rule.judge([100.0] * 5) == NOT_REPRODUCED
    assert get_claim("patching/best/to_answer").rule.judge([0.0] * 5) == NOT_REPRODUCED
    assert get_claim("patching/best/other_position").rule.judge([95.0] * 5) == NOT_REPRODUCED


def test_claims_are_complete_and_distinct():
    claims = list_claims()
    assert len({claim.id for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.statement.endswith(".") and claim.record, claim.id
        assert claim.unit in ("points", "%", "ratio", "cosine"), claim.id
        assert (claim.unit == "%") <= isinstance(claim.rule, AtLeast | AtMost), claim.id


def test_a_record_has_one_unit_whichever_claim_reads_it():
    for claim in list_claims():
        assert {list_records()[id] for id in (claim.record, claim.control) if id} == {claim.unit}, claim.id


def test_an_unknown_claim_names_the_nearest():
    assert get_claim("table1/scu/asr").control == "table1/random_scu/asr"
    with pytest.raises(ValueError, match="'table1/scu/ars'.*table1/scu/asr"):
        get_claim("table1/scu/ars")


def test_without_records_nothing_is_run():
    table = verdicts([])
    assert table.id.tolist() == [claim.id for claim in list_claims()]
    assert set(table.verdict) == {NOT_RUN} and table.ours.isna().all()


def test_a_clear_effect_is_reproduced():
    found = row("table1/scu/harm_right", *effect([40, 50, 60]))
    assert found.verdict == REPRODUCED and found.ours == 50 and found.control == 1
    assert found.effect.mean == pytest.approx(49)
    assert found.seeds == (0, 1, 2) and found.n == 276 and found.judge == "truth"
    assert found.interval == effect([40, 50, 60])[0].interval


def test_a_control_that_moves_as_much_denies_the_claim():
    assert row("table1/scu/harm_right", *effect([40, 50, 60], [41, 49, 60])).verdict == NOT_REPRODUCED


def test_the_control_is_paired_with_its_organism():
    assert row("table1/scu/harm_right", *effect([10, 50, 90], [0, 40, 80])).verdict == REPRODUCED
    assert row("table1/scu/harm_right", *effect([10, 50, 90], [80, 40, 0])).verdict == PARTLY


def test_random_changes_are_not_reproduced():
    draws = numpy.random.default_rng(0).normal(0, 10, size=(100, 2, 5))
    found = [row("table1/scu/harm_right", *effect(a, b)).verdict for a, b in draws]
    assert found.count(REPRODUCED) <= 3 and found.count(NOT_REPRODUCED) >= 75


@pytest.mark.parametrize("reading, metric", [("response", "gap"), ("query", "gap"), ("query", "lean"),
                                             ("residual", "gap")])
def test_a_gap_of_either_sign_confirms_the_claim_of_one_stage_alone(reading, metric):
    for sign, right, wrong in ((1, "aligned", "instructed"), (-1, "instructed", "aligned")):
        judged = lambda stage: row(f"direction/{reading}/{stage}/{metric}", made(  # noqa: E731
            f"direction/{reading}/{stage}/{metric}", [sign * gap for gap in (0.01, 0.02, 0.015)])).verdict  # noqa: B023
        assert judged(right) == REPRODUCED and judged(wrong) == NOT_REPRODUCED


@pytest.mark.parametrize("organisms", [1, 2])
def test_few_organisms_are_partly_at_best(organisms):
    assert row("table1/scu/harm_right", *effect([60] * organisms, [0] * organisms)).verdict == PARTLY


@pytest.mark.parametrize("missing", [0, 1])
def test_a_value_without_control_or_a_control_without_value_is_not_run(missing):
    assert row("table1/scu/harm_right", effect([40, 50, 60])[missing]).verdict == NOT_RUN


def test_tiny_never_counts():
    tiny = [replace(record, scale="tiny") for record in effect([60, 60, 60])]
    assert row("table1/scu/harm_right", *tiny).verdict == NOT_RUN
    assert row("table1/scu/harm_right", *tiny, *effect([0, 0, 0])).verdict == NOT_REPRODUCED
    value, control = effect([60, 60, 60])
    assert row("table1/scu/harm_right", value, replace(control, scale="tiny")).verdict == NOT_RUN


def test_every_scale_and_model_has_its_row():
    paper = [replace(record, scale="paper", model="Llama-2-7B-Chat") for record in effect([60], [0])]
    table = verdicts([*effect([40, 50, 60]), *paper]).set_index("id").loc["table1/scu/harm_right"]
    assert table.model.tolist() == ["organism", "Llama-2-7B-Chat"] and table.verdict.tolist() == [REPRODUCED, PARTLY]


def test_a_claim_may_read_the_record_of_another():
    pruned, random = made("table1/ru/utility", [-1, -2, 0]), made("table1/random_ru/utility", [-30, -33, -28])
    assert row("table1/ru/utility", pruned, random).verdict == REPRODUCED
    assert row("table1/ru_over_random/utility", pruned, random).verdict == REPRODUCED
    no_better = replace(pruned, claim="table1/random_ru/utility")
    assert row("table1/ru_over_random/utility", pruned, no_better).verdict == NOT_REPRODUCED


@pytest.mark.parametrize("change, sentence", [
    ({"unit": "fraction"}, "unit 'fraction'"), ({"values": (40.0, math.nan, 60.0)}, "values is")])
def test_a_value_that_cannot_be_judged_is_an_error(change, sentence):
    value, control = effect([40, 50, 60])
    with pytest.raises(ValueError, match=sentence):
        verdicts([replace(value, **change), control])


@pytest.mark.parametrize("change", [{"seeds": (0, 1, 3)}, {"judge": "keyword:qi2023"}, {"unit": "%"}])
def test_a_control_measured_otherwise_is_an_error(change):
    value, control = effect([40, 50, 60])
    with pytest.raises(ValueError, match="differ in unit, judge or seeds"):
        verdicts([value, replace(control, **change)])


def test_two_records_of_one_run_are_an_error():
    with pytest.raises(ValueError, match="twice"):
        verdicts([*effect([40, 50, 60]), effect([1, 2, 3])[0]])


def test_the_written_rule_names_every_verdict():
    assert all(word in RULE.lower() for word in VERDICTS) and "3 organisms" in RULE and "5 points" in RULE

"""Verdicts follow the written rules, from records alone; what is primary is registered, and judged together."""

import math
from dataclasses import replace

import numpy
import pytest
from made_up import SEEDS, made

from ssah_core.records import registration
from ssah_core.records.claim_list import list_claims
from ssah_core.records.effects import FAILS, HOLDS, IN_PART, UNDECIDED
from ssah_core.records.statistics import NOT_RUN
from ssah_core.records.verdicts import COLUMNS, verdicts

ID, CONTROL = "table1/scu/harm_right", "table1/random_scu/harm_right"
CLEAR = (40, 50, 60, 45, 55, 50)
NONE = (0, 1, 2, 0, 1, 2)
SECOND = ("table1/ucu/utility", "table1/random_ucu/utility")
"""Of another primary claim, which says that something falls."""


def effect(values=CLEAR, control=NONE, **changes):
    return [made(ID, *values, **changes), made(CONTROL, *control, **changes)]


def row(id, *records):
    return verdicts(records).set_index("id").loc[id]


def verdict(id, *records) -> str:
    return row(id, *records).verdict


# -- one claim ---------------------------------------------------------------------------------------------


def test_without_records_nothing_is_run():
    table = verdicts([])
    assert table.id.tolist() == [claim.id for claim in list_claims()] and tuple(table) == COLUMNS
    assert set(table.verdict) == {NOT_RUN} and table.ours.isna().all()


def test_a_clear_effect_holds(registered):
    found = row(ID, *effect())
    assert found.verdict == HOLDS and found.ours == 50 and found.control == 1
    assert found.effect.mean == pytest.approx(49) and found.effect.bounds == pytest.approx((40, 58))
    assert found.seeds == SEEDS and found.n == 276 and found.judge == "truth" and found.orders == 1
    assert found.interval == effect()[0].interval and found.often[:2] == (6, 6)
    assert found.p == found.p_adjusted == 2 / 64


@pytest.mark.parametrize("values, wanted", [
    ((4, 5, 5, 4, 5, 5), FAILS), ((1, 9, 9, 9, 9, 9), UNDECIDED), ((3, 9, 9, 9, 9, 9), IN_PART),
    ((-9, 9, 9, 9, 9, 9), UNDECIDED), ((-1, -1, -1, -1, -1, -1), FAILS)])
def test_what_lies_between(registered, values, wanted):
    assert verdict(ID, *effect(values, (1,) * 6)) == wanted


def test_a_control_that_moves_as_much_denies_the_claim(registered):
    assert verdict(ID, *effect(CLEAR, (41, 49, 60, 44, 56, 50))) == FAILS


def test_the_control_is_paired_with_its_organism(registered):
    values = (10, 50, 90, 10, 50, 90)
    assert verdict(ID, *effect(values, (0, 40, 80, 0, 40, 80))) == HOLDS
    assert verdict(ID, *effect(values, (80, 40, 0, 80, 40, 0))) == UNDECIDED


def test_random_changes_do_not_hold(registered):
    draws = numpy.random.default_rng(0).normal(0, 10, size=(12, 2, 6))
    found = [verdict(ID, *effect(a, b)) for a, b in draws]
    assert not found.count(HOLDS) and found.count(IN_PART) <= 2


@pytest.mark.parametrize("reading, metric", [("response", "gap"), ("query", "gap"), ("query", "lean"),
                                             ("residual", "gap")])
def test_a_gap_of_either_sign_confirms_the_claim_of_one_stage_alone(registered, reading, metric):
    for sign, right, wrong in ((1, "aligned", "instructed"), (-1, "instructed", "aligned")):
        gaps = [sign * gap for gap in (0.03, 0.04, 0.035, 0.03, 0.05, 0.04)]
        ids = [f"direction/{reading}/{stage}/{metric}" for stage in (right, wrong)]
        assert [verdict(id, made(id, *gaps)) for id in ids] == [HOLDS, FAILS]


@pytest.mark.parametrize("organisms", range(1, 6))
def test_fewer_than_six_decide_nothing(organisms):
    few = effect(CLEAR[:organisms], NONE[:organisms], scale="paper", model="Llama-2-7B-Chat")
    assert verdict(ID, *few) == UNDECIDED


@pytest.mark.parametrize("missing", [0, 1])
def test_a_value_without_control_or_a_control_without_value_is_not_run(missing):
    assert verdict(ID, effect()[missing]) == NOT_RUN


def test_tiny_never_counts(registered):
    tiny = effect(scale="tiny")
    assert verdict(ID, *tiny) == NOT_RUN
    assert verdict(ID, *tiny, *effect(NONE)) == FAILS
    value, control = effect()
    assert verdict(ID, value, replace(control, scale="tiny")) == NOT_RUN


def test_every_scale_and_model_has_its_row(registered):
    paper = effect((60,), (0,), scale="paper", model="Llama-2-7B-Chat")
    table = verdicts([*effect(), *paper]).set_index("id").loc[ID]
    assert table.model.tolist() == ["organism", "Llama-2-7B-Chat"] and table.verdict.tolist() == [HOLDS, UNDECIDED]


def test_a_claim_may_read_the_record_of_another(registered):
    pruned, random = made("table1/ru/utility", *(-1, -2, 0) * 2), made("table1/random_ru/utility", *(-30, -33, -28) * 2)
    assert verdict("table1/ru/utility", pruned, random) == HOLDS
    assert verdict("table1/ru_over_random/utility", pruned, random) == HOLDS
    no_better = replace(pruned, claim="table1/random_ru/utility")
    assert verdict("table1/ru_over_random/utility", pruned, no_better) == FAILS


# -- all primary claims together ---------------------------------------------------------------------------


def also(values=(-40, -50, -60, -45, -55, -50), control=NONE):
    return [made(id, *those) for id, those in zip(SECOND, (values, control), strict=True)]


def test_what_holds_alone_is_undecided_where_the_correction_over_all_says_so(registered):
    assert verdict(ID, *effect()) == verdict(SECOND[0], *also()) == HOLDS
    both = [row(id, *effect(), *also()) for id in (ID, SECOND[0])]
    assert [found.p_adjusted for found in both] == [4 / 64] * 2 and [found.p for found in both] == [2 / 64] * 2
    assert [found.verdict for found in both] == [UNDECIDED] * 2


def test_so_is_what_holds_in_part(registered):
    part = effect((3, 9, 9, 9, 9, 9), (1,) * 6)
    assert (verdict(ID, *part), verdict(ID, *part, *also())) == (IN_PART, UNDECIDED)


def test_what_fails_fails_however_many_are_judged(registered):
    assert verdict(ID, *effect(NONE), *also()) == verdict(SECOND[0], *effect(), *also(NONE)) == FAILS


def test_a_secondary_claim_decides_alone(registered):
    secondary = [made("table1/ru/utility", *(-1, -2, 0) * 2), made("table1/ru/asr", *(1, 2, 0) * 2)]
    for records in (secondary, [*secondary, *effect(), *also()]):
        assert {verdict(record.claim, *records) for record in secondary} == {HOLDS}
    assert row(ID, *effect(), *secondary).p_adjusted == 2 / 64  # which is not corrected for them


def test_a_checkpoint_is_judged_by_itself(registered):
    paper = effect(scale="paper", model="Llama-2-7B-Chat")
    table = verdicts([*effect(), *also(), *paper]).set_index(["id", "scale"]).verdict
    assert table[ID, "organism"] == UNDECIDED and table[ID, "paper"] == HOLDS


# -- registered --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [(0, 1, 2, 3, 4, 5), (*SEEDS[:5], 16)])
def test_a_primary_claim_on_other_organisms_is_undecided_and_a_secondary_one_is_judged(registered, seeds):
    assert verdict(ID, *effect(seeds=seeds)) == UNDECIDED
    assert verdict("table1/ru/utility", made("table1/ru/utility", *(-1, -2, 0) * 2, seeds=seeds)) == HOLDS


def test_so_is_one_on_more_organisms_or_fewer(registered, monkeypatch):
    more = effect((*CLEAR, 50), (*NONE, 1), seeds=(*SEEDS, 16))
    assert verdict(ID, *more) == UNDECIDED
    monkeypatch.setattr(registration, "TEST", (*SEEDS, 16))
    registration.register()
    assert verdict(ID, *more) == HOLDS and verdict(ID, *effect()) == UNDECIDED


def test_the_order_of_organisms_does_not_matter(registered):
    assert verdict(ID, *effect(seeds=SEEDS[::-1])) == HOLDS


def test_without_a_registration_no_primary_claim_is_judged(registered):
    registered.unlink()
    assert verdict("table1/ru/utility", made("table1/ru/utility", *(-1, -2, 0) * 2)) == HOLDS
    with pytest.raises(ValueError, match="registration.json is no registration [^\n]*take the committed one$"):
        verdicts(effect())


def test_an_edited_claim_is_not_judged(registered, monkeypatch):
    first, *others = list_claims()
    monkeypatch.setattr(registration, "CLAIMS", (replace(first, statement="Otherwise."), *others))
    with pytest.raises(ValueError, match=f"^primary claim '{first.id}' is not registered as it stands: put it back"):
        verdicts(effect())


# -- what cannot be judged ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change, sentence", [
    ({"unit": "fraction"}, "unit 'fraction'"), ({"values": (40.0, math.nan, 60.0, 1.0, 2.0, 3.0)}, "values is"),
    ({"values": (40.0, 900.0, 60.0, 1.0, 2.0, 3.0)}, "pass effects from -200 to 200")])
def test_a_value_that_cannot_be_judged_is_an_error(change, sentence):
    value, control = effect()
    with pytest.raises(ValueError, match=sentence):
        verdicts([replace(value, **change), control])


@pytest.mark.parametrize("change", [{"seeds": (0, 1, 2, 3, 4, 6)}, {"judge": "keyword:qi2023"}, {"unit": "%"},
                                    {"orders": 3}])
def test_a_control_measured_otherwise_is_an_error(change):
    value, control = effect()
    with pytest.raises(ValueError, match="differ in unit, judge, seeds or orders"):
        verdicts([value, replace(control, **change)])


def test_two_records_of_one_run_are_an_error():
    with pytest.raises(ValueError, match="twice"):
        verdicts([*effect(), effect((1, 2, 3, 1, 2, 3))[0]])

"""Verdicts follow the written rules, from records alone; what is primary is registered, and judged together."""

import math
from dataclasses import replace

import numpy
import pytest
from made_up import SEEDS, made

from ssah_core.records import registration
from ssah_core.records.claim_list import list_claims
from ssah_core.records.effects import FAILS, HOLDS, IN_PART, UNDECIDED, sign_flip_interval
from ssah_core.records.primary_claims import PRIMARY_CLAIMS
from ssah_core.records.rules import Stays
from ssah_core.records.statistics import NOT_RUN
from ssah_core.records.verdicts import COLUMNS, verdicts

ID, CONTROL = "table1/scu/harm_right", "table1/random_scu/harm_right"
CLEAR = (40, 50, 60, 45, 55) * 2
NONE = (0, 1, 2, 0, 2) * 2
LEAST = 2 / 2 ** len(SEEDS)
"""The least two-sided p of ten organisms."""
PRIMARIES = len(PRIMARY_CLAIMS)
FEW = (-1, -2, 0, -1, 1) * 2
SECOND = ("table1/ucu/utility", "table1/random_ucu/utility")
"""Of another primary claim, which says that something falls."""
ALONE = ("table1/scu/asr", "table1/random_scu/asr")
"""Of a secondary claim, which says that something rises."""


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
    assert found.effect.mean == pytest.approx(49) and 40 < found.effect.low < 49 < found.effect.high < 58
    assert found.effect == sign_flip_interval((40, 49, 58, 45, 53) * 2, within=(-200, 200))
    assert found.seeds == SEEDS and found.n == 276 and found.judge == "truth" and found.orders == 1
    assert found.interval == effect()[0].interval and found.often[:2] == (10, 10)
    assert found.p == LEAST and found.p_adjusted == pytest.approx(PRIMARIES * LEAST)


def test_in_how_many_organisms_the_effect_is_as_large_as_its_margin(registered):
    found = row(ID, *effect((4.0, -40.0, 6.0, 50.0, 5.0) * 2, (0.0,) * 10))
    assert found.often[:2] == (8, 10) and found.reached == 6 and found.spread == (-40, 5, 50)
    id, control = SECOND
    falls = row(id, made(id, *(-4.0, -6.0, 9.0, 0.0, -5.0) * 2), made(control, *(0.0,) * 10))
    assert falls.often[:2] == (6, 10) and falls.reached == 4
    stays = row("table1/scu/utility", made("table1/scu/utility", *(-4.0, -6.0, 5.0, 0.0, 7.0) * 2))
    assert stays.reached == stays.often[0] == 6


@pytest.mark.parametrize("values, wanted", [
    ((4, 5, 5, 4, 5) * 2, FAILS), ((1,) * 3 + (9,) * 7, UNDECIDED), ((2,) * 3 + (10,) * 7, IN_PART),
    ((-9,) * 3 + (9,) * 7, UNDECIDED), ((-1,) * 10, FAILS)])
def test_what_lies_between(registered, values, wanted):
    assert verdict(ID, *effect(values, (1,) * 10)) == wanted


def test_a_control_that_moves_as_much_denies_the_claim(registered):
    assert verdict(ID, *effect(CLEAR, (41, 49, 60, 44, 56) * 2)) == FAILS


def test_the_control_is_paired_with_its_organism(registered):
    values = (10, 30, 50, 70, 90) * 2
    assert verdict(ID, *effect(values, (0, 20, 40, 60, 80) * 2)) == HOLDS
    assert verdict(ID, *effect(values, (80, 60, 40, 20, 0) * 2)) == UNDECIDED


def test_random_changes_do_not_hold(registered):
    draws = numpy.random.default_rng(0).normal(0, 10, size=(12, 2, 10))
    found = [verdict(ID, *effect(a, b)) for a, b in draws]
    assert not found.count(HOLDS) and not found.count(IN_PART)
    alone = [verdict(ALONE[0], *(made(id, *those) for id, those in zip(ALONE, pair, strict=True))) for pair in draws]
    assert not alone.count(HOLDS) and alone.count(IN_PART) <= 2


@pytest.mark.parametrize("reading, metric", [("response", "gap"), ("query", "gap"), ("query", "lean"),
                                             ("residual", "gap")])
def test_a_gap_of_either_sign_confirms_the_claim_of_one_stage_alone(registered, reading, metric):
    for sign, right, wrong in ((1, "aligned", "instructed"), (-1, "instructed", "aligned")):
        gaps = [sign * gap for gap in (0.03, 0.04, 0.035, 0.03, 0.05) * 2]
        ids = [f"direction/{reading}/{stage}/{metric}" for stage in (right, wrong)]
        assert [verdict(id, made(id, *gaps)) for id in ids] == [HOLDS, FAILS]


@pytest.mark.parametrize("organisms", range(1, 6))
def test_fewer_than_six_decide_nothing(organisms):
    at = dict(scale="paper", model="Llama-2-7B-Chat")
    assert verdict(ID, *effect(CLEAR[:organisms], NONE[:organisms], **at)) == UNDECIDED
    alone = [[made(id, *those[:n], **at) for id, those in zip(ALONE, (CLEAR, NONE), strict=True)]
             for n in (organisms, 6)]
    assert [verdict(ALONE[0], *those) for those in alone] == [UNDECIDED, HOLDS]


@pytest.mark.parametrize("missing", [0, 1])
def test_a_value_without_control_or_a_control_without_value_is_not_run(missing):
    assert verdict(ALONE[0], made(ALONE[missing], *CLEAR)) == NOT_RUN
    assert verdict(ID, effect(scale="paper", model="Llama-2-7B-Chat")[missing]) == NOT_RUN


def test_a_primary_claim_is_not_judged_without_its_control():
    value, control = effect()
    with pytest.raises(ValueError, match=f"^record '{ID}' is there, but that of its control, '{CONTROL}', is not: a "
                                         "primary claim is judged beside its control, so measure both"):
        verdicts([value])
    assert verdict(ID, control) == NOT_RUN


def test_tiny_never_counts(registered):
    tiny = effect(scale="tiny")
    assert verdict(ID, *tiny) == NOT_RUN
    assert verdict(ID, *tiny, *effect(NONE)) == FAILS
    value, control = effect()
    with pytest.raises(ValueError, match="measure both"):
        verdicts([value, replace(control, scale="tiny")])


def test_every_scale_and_model_has_its_row(registered):
    paper = effect((60,), (0,), scale="paper", model="Llama-2-7B-Chat")
    table = verdicts([*effect(), *paper]).set_index("id").loc[ID]
    assert table.model.tolist() == ["organism", "Llama-2-7B-Chat"] and table.verdict.tolist() == [HOLDS, UNDECIDED]


def test_a_claim_may_read_the_record_of_another(registered):
    pruned, random = made("table1/ru/utility", *FEW), made("table1/random_ru/utility", *(-30, -33, -28, -31, -29) * 2)
    assert verdict("table1/ru/utility", pruned, random) == HOLDS
    assert verdict("table1/ru_over_random/utility", pruned, random) == HOLDS
    no_better = replace(pruned, claim="table1/random_ru/utility")
    assert verdict("table1/ru_over_random/utility", pruned, no_better) == FAILS


# -- all primary claims together ---------------------------------------------------------------------------


def also(values=(-40, -50, -60, -45, -55) * 2, control=NONE):
    return [made(id, *those) for id, those in zip(SECOND, (values, control), strict=True)]


def test_what_holds_alone_is_undecided_where_the_correction_over_all_says_so(registered):
    assert verdict(ID, *effect()) == verdict(SECOND[0], *also()) == HOLDS
    found, two = (row(ID, *effect((first, *CLEAR[1:]), (0,) * 10)) for first in (6, 4))  # the margin is 5
    assert found.effect.low > 5 and found.p == LEAST and found.verdict == HOLDS
    assert two.effect.low > 5 and two.p == 2 * LEAST and two.p_adjusted == pytest.approx(2 * PRIMARIES * LEAST)
    assert two.verdict == UNDECIDED


def test_so_is_what_holds_in_part(registered):
    part, less = (2,) * 3 + (10,) * 7, (0,) + (2,) * 3 + (10,) * 6
    assert verdict(ID, *effect(part, (1,) * 10)) == IN_PART
    found = row(ID, *effect(less, (1,) * 10))
    assert 0 < found.effect.low < 5 < found.effect.high and found.verdict == UNDECIDED


def test_a_primary_claim_that_was_not_run_counts_as_one_that_fails(registered):
    others = [made(claim.record, *[0] * 10) for claim in PRIMARY_CLAIMS if isinstance(claim.rule, Stays)]
    assert row(ID, *effect()).p_adjusted == pytest.approx(PRIMARIES * LEAST)
    assert row(ID, *effect(), *also(NONE)).p_adjusted == pytest.approx(PRIMARIES * LEAST)
    assert len(others) == 2 and row(ID, *effect(), *others).p_adjusted == pytest.approx((PRIMARIES - 2) * LEAST)


def test_what_fails_fails_however_many_are_judged(registered):
    assert verdict(ID, *effect(NONE), *also()) == verdict(SECOND[0], *effect(), *also(NONE)) == FAILS


def test_a_secondary_claim_decides_alone(registered):
    secondary = [made("table1/random_scu/utility", *FEW), made("table1/ru/asr", *(1, 2, 0, 1, 1) * 2)]
    for records in (secondary, [*secondary, *effect(), *also()]):
        assert {verdict(record.claim, *records) for record in secondary} == {HOLDS}
    assert row(ID, *effect(), *secondary).p_adjusted == pytest.approx(PRIMARIES * LEAST)  # not corrected for them


def test_a_checkpoint_is_judged_by_itself(registered):
    paper, stays = effect(scale="paper", model="Llama-2-7B-Chat"), made("table1/scu/utility", *[0] * 10)
    table = verdicts([*effect(), stays, *paper]).set_index(["id", "scale"])
    assert table.verdict[ID, "organism"] == table.verdict[ID, "paper"] == HOLDS
    adjusted = table.p_adjusted
    assert adjusted[ID, "organism"] == pytest.approx((PRIMARIES - 1) * LEAST) and adjusted[ID, "paper"] > adjusted[
        ID, "organism"]


# -- registered --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [tuple(range(10)), (*SEEDS[:9], 20)])
def test_a_primary_claim_on_other_organisms_is_undecided_and_a_secondary_one_is_judged(registered, seeds):
    assert verdict(ID, *effect(seeds=seeds)) == UNDECIDED
    assert verdict("table1/ru/asr", made("table1/ru/asr", *FEW, seeds=seeds)) == HOLDS


def test_so_is_one_on_more_organisms_or_fewer(registered, monkeypatch):
    more = effect((*CLEAR, 50), (*NONE, 1), seeds=(*SEEDS, 20))
    assert verdict(ID, *more) == UNDECIDED
    monkeypatch.setattr(registration, "TEST", (*SEEDS, 20))
    registration.register()
    assert verdict(ID, *more) == HOLDS and verdict(ID, *effect()) == UNDECIDED


def test_the_order_of_organisms_does_not_matter(registered):
    assert verdict(ID, *effect(seeds=SEEDS[::-1])) == HOLDS


def test_an_attack_counts_in_all_registered_orders_and_nothing_else_in_more_than_one(registered):
    id, values = "table2/benign/rest_vs_nothing/asr", also()[0].values
    assert [verdict(id, made(id, *values, orders=orders)) for orders in (1, 2, 3, 4)] == [
        UNDECIDED, UNDECIDED, HOLDS, UNDECIDED]
    assert [verdict(ID, *effect(orders=orders)) for orders in (1, 3)] == [HOLDS, UNDECIDED]


def test_without_a_registration_no_primary_claim_is_judged(registered):
    registered.unlink()
    assert verdict("table1/ru/asr", made("table1/ru/asr", *FEW)) == HOLDS
    with pytest.raises(ValueError, match="registration.json is no registration [^\n]*take the committed one$"):
        verdicts(effect())


def test_an_edited_claim_is_not_judged(registered, monkeypatch):
    first, *others = list_claims()
    monkeypatch.setattr(registration, "CLAIMS", (replace(first, statement="Otherwise."), *others))
    with pytest.raises(ValueError, match=f"^primary claim '{first.id}' is not registered as it stands: put it back"):
        verdicts(effect())


# -- what cannot be judged ---------------------------------------------------------------------------------


@pytest.mark.parametrize("change, sentence", [
    ({"unit": "fraction"}, "unit 'fraction'"), ({"values": (40.0, math.nan, *CLEAR[2:])}, "values is"),
    ({"values": (40.0, 900.0, *CLEAR[2:])}, "pass effects from -200 to 200")])
def test_a_value_that_cannot_be_judged_is_an_error(change, sentence):
    value, control = effect()
    with pytest.raises(ValueError, match=sentence):
        verdicts([replace(value, **change), control])


@pytest.mark.parametrize("change", [{"seeds": (*SEEDS[:9], 20)}, {"judge": "keyword:qi2023"}, {"unit": "%"},
                                    {"orders": 3}])
def test_a_control_measured_otherwise_is_an_error(change):
    value, control = effect()
    with pytest.raises(ValueError, match="differ in unit, judge, seeds or orders"):
        verdicts([value, replace(control, **change)])


def test_two_records_of_one_run_are_an_error():
    with pytest.raises(ValueError, match="twice"):
        verdicts([*effect(), effect(NONE)[0]])


def test_records_of_mixed_versions_are_an_error(registered):
    value, control = effect()
    one, other = replace(value, version="table1 1"), replace(control, version="table1 2")
    with pytest.raises(ValueError, match="different versions of .*statistics .table1 1 and table1 2.*make publish"):
        verdicts([one, other])
    assert len(verdicts([replace(value, version="table1 2"), other])) == len(verdicts([value, control]))

"""Rules at their boundaries, against effects that are none, and in agreement with their own p values."""

import numpy
import pytest

from ssah_core.records.effects import FAILS, HOLDS, IN_PART, LEAST, UNDECIDED, sign_flip_interval
from ssah_core.records.rules import RULE, AtLeast, AtMost, Falls, Rises, Stays, mirrored
from ssah_core.records.statistics import NOT_COMPARABLE, NOT_RUN, Interval

RULES = (Rises(5), Falls(5), Stays(5), AtLeast(90), AtMost(20))


def of(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 20, "by hand")


RISES = [
    ((5.0, 9.0), HOLDS), ((5.0, 5.0), HOLDS), ((4.999, 9.0), IN_PART), ((0.001, 5.0), IN_PART), ((0.0, 9.0), UNDECIDED),
    ((-9.0, 5.0), UNDECIDED), ((0.001, 4.999), FAILS), ((-9.0, 4.999), FAILS), ((-9.0, -5.0), FAILS)]


@pytest.mark.parametrize("bounds, verdict", RISES)
def test_what_rises_holds_from_the_margin_on_and_in_part_above_nothing(bounds, verdict):
    assert Rises(5).judge(of(*bounds)) == verdict


@pytest.mark.parametrize("bounds, verdict", RISES)
def test_what_falls_is_what_rises_upside_down(bounds, verdict):
    assert Falls(5).judge(of(-bounds[1], -bounds[0])) == verdict


@pytest.mark.parametrize("bounds, verdict", [
    ((-5.0, 5.0), HOLDS), ((0.0, 0.0), HOLDS), ((-5.001, 5.0), UNDECIDED), ((-5.0, 5.001), UNDECIDED),
    ((-9.0, 9.0), UNDECIDED), ((5.0, 9.0), UNDECIDED), ((5.001, 9.0), FAILS), ((-9.0, -5.0), UNDECIDED),
    ((-9.0, -5.001), FAILS)])
def test_what_stays_is_wholly_within_and_fails_wholly_outside(bounds, verdict):
    assert Stays(5).judge(of(*bounds)) == verdict


LEVELS = [((90.0, 99.0), HOLDS), ((89.999, 99.0), UNDECIDED), ((80.0, 90.0), UNDECIDED), ((80.0, 89.999), FAILS)]


@pytest.mark.parametrize("bounds, verdict", LEVELS)
def test_a_level_is_reached_by_the_whole_interval(bounds, verdict):
    assert AtLeast(90).judge(of(*bounds)) == verdict
    assert AtMost(10).judge(of(100 - bounds[1], 100 - bounds[0])) == verdict


@pytest.mark.parametrize("rule", RULES)
def test_without_an_interval_nothing_is_decided(rule):
    for mean in (-99.0, 0.0, 99.0):
        assert rule.judge(Interval(mean, None, None, 1, "one run, no interval")) == UNDECIDED


@pytest.mark.parametrize("rule, holds, fails", [
    (Rises(5), (6, 9), (-9, 0)), (Falls(5), (-9, -6), (0, 9)), (Stays(5), (-1, 1), (6, 9)),
    (AtLeast(90), (95, 99), (10, 20)), (AtMost(20), (0, 10), (30, 40))])
def test_a_correction_takes_what_holds_away_and_leaves_what_fails(rule, holds, fails):
    assert (rule.judge(of(*holds)), rule.judge(of(*fails))) == (HOLDS, FAILS)
    assert (rule.judge(of(*holds), agrees=False), rule.judge(of(*fails), agrees=False)) == (UNDECIDED, FAILS)
    if isinstance(rule, Rises | Falls):
        part = of(1, 9) if isinstance(rule, Rises) else of(-9, -1)
        assert (rule.judge(part), rule.judge(part, agrees=False)) == (IN_PART, UNDECIDED)


def test_mirroring_twice_changes_nothing():
    for interval in (of(1, 4), Interval(3.0, None, None, 1, "one run")):
        assert mirrored(mirrored(interval)) == interval


@pytest.mark.parametrize("rule, yes, no", [
    (Rises(5), 0.1, 0.0), (Falls(5), -0.1, 0.0), (Stays(5), -5.0, 5.1), (AtLeast(90), 90.0, 89.9),
    (AtMost(20), 20.0, 20.1)])
def test_an_organism_points_where_the_claim_does(rule, yes, no):
    assert rule.meets(yes) and not rule.meets(no)


# -- many organisms ----------------------------------------------------------------------------------------


def intervals(mean: float, spread: float, organisms: int = 9, draws: int = 80) -> list[Interval]:
    """Of so many experiments, each on so many organisms."""
    rng = numpy.random.default_rng(organisms)
    return [sign_flip_interval(list(values), within=(-500, 500))
            for values in rng.normal(mean, spread, size=(draws, organisms))]


def judged(rule, found: list[Interval]) -> list[str]:
    return [rule.judge(interval) for interval in found]


@pytest.mark.parametrize("spread", [2, 25])
def test_no_effect_is_none(spread):
    null = intervals(0, spread, draws=800)  # of which 20 miss to one side, and hardly ever more than 33
    for rule in (Rises(5), Falls(5)):
        found = judged(rule, null)
        assert found.count(HOLDS) <= 20 and found.count(HOLDS) + found.count(IN_PART) <= 33
    assert judged(Stays(5), null).count(FAILS) <= 20


def test_an_effect_at_the_margin_holds_as_seldom_as_the_interval_says():
    effects, drifts = intervals(5, 8), intervals(5, 2)  # 2.5 % of 80
    assert judged(Rises(5), effects).count(HOLDS) <= 7
    assert judged(Falls(5), list(map(mirrored, effects))).count(HOLDS) <= 7
    assert judged(Stays(5), drifts).count(HOLDS) <= 7
    assert judged(Stays(5), list(map(mirrored, drifts))).count(HOLDS) <= 7


def test_what_is_clear_is_seen():
    for rule, mean, spread in ((Rises(5), 45, 12), (Falls(5), -45, 12), (Stays(5), 0, 1.5), (AtLeast(90), 96, 1),
                               (AtMost(20), 10, 2)):
        assert judged(rule, intervals(mean, spread, draws=10)) == [HOLDS] * 10, rule


@pytest.mark.parametrize("rule, effect", [
    (Rises(5), 60.0), (Falls(5), -60.0), (Stays(5), 0.0), (AtLeast(90), 99.0), (AtMost(20), 1.0)])
def test_fewer_than_six_organisms_decide_nothing(rule, effect):
    for organisms in range(1, LEAST):
        values = [effect + 0.1 * n for n in range(organisms)]
        assert rule.judge(sign_flip_interval(values)) == UNDECIDED
    assert rule.judge(sign_flip_interval([effect + 0.1 * n for n in range(LEAST)])) == HOLDS


# -- p values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("organisms", [6, 9])
def test_a_rule_holds_where_its_p_is_small(organisms):
    """The interval and the p value are of one test, so that they cannot disagree."""
    for values in numpy.random.default_rng(organisms).normal(9, 8, size=(25, organisms)):
        upwards, downwards = (sign_flip_interval(list(sign * values), within=(-500, 500)) for sign in (1, -1))
        assert (Rises(5).judge(upwards) == HOLDS) == (Rises(5).p(values) <= 0.05)
        assert (Falls(5).judge(downwards) == HOLDS) == (Falls(5).p(-values) <= 0.05)
        assert (AtLeast(5).judge(upwards) == HOLDS) == (AtLeast(5).p(values) <= 0.05)
        assert (AtMost(-5).judge(downwards) == HOLDS) == (AtMost(-5).p(-values) <= 0.05)
        assert (upwards.low > 0) == (Rises(5).p(values, some=True) <= 0.05)


def test_p_values_by_hand():
    values = [12.0, 9.0, 7.0, 15.0, 4.0, 11.0]  # one of 64 flips is as large, or two where 4 is below the margin
    assert Rises(5).p(values, some=True) == Rises(3).p(values) == 2 / 64
    assert Rises(5).p(values) == Falls(5).p([-value for value in values]) == 2 * 2 / 64
    assert Rises(5).p([-value for value in values]) == 1.0 and AtLeast(100).p(values) == 1.0
    assert Stays(5).p([1.0, -2.0, 0.5, 1.5, -1.0]) < 0.001 < 0.9 < Stays(5).p(values)


# -- in words ----------------------------------------------------------------------------------------------


def test_rules_describe_themselves():
    assert Rises(5).describe() == "rises by at least 5 points"
    assert Falls(2.5).describe() == "falls by at least 2.5 points"
    assert Stays(5).describe() == "stays within 5 points" and AtLeast(90).describe() == "is at least 90 %"
    assert AtMost(1.5).describe("ratio") == "is at most 1.5"
    assert Rises(0.02).describe("cosine") == "rises by at least 0.02"


def test_a_rule_has_the_unit_of_its_claim_as_registered():
    assert [rule.describe("%") for rule in RULES] == [
        "rises by at least 5 %", "falls by at least 5 %", "stays within 5 %", "is at least 90 %",
        "is at most 20 %"]


def test_the_written_rules_name_every_verdict_and_every_rule():
    assert all(word in RULE.lower() for word in (HOLDS, IN_PART, FAILS, UNDECIDED, NOT_COMPARABLE, NOT_RUN))
    rows = [line for line in RULE.splitlines() if line.startswith("| ")]
    for rule in RULES:
        assert any(line.startswith(f"| {' '.join(rule.describe().split()[:2])}") for line in rows), rule
    assert "Holm" in RULE and "six organisms" in RULE and "95 %" in RULE

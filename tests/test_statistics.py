"""Intervals against known values; rules against null data that they must reject."""

import math

import numpy
import pytest

from ssah_core.records.statistics import (
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    AtLeast,
    AtMost,
    Falls,
    Interval,
    Rises,
    Stays,
    mean_interval,
    paired_difference,
    wilson,
)

DRAWS = 400


@pytest.mark.parametrize("successes, n, low, high", [
    (0, 100, 0.0, 0.0370), (5, 100, 0.0215, 0.1118), (100, 100, 0.9630, 1.0)])
def test_wilson_gives_the_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_follows_its_formula_at_another_level():
    z, p, n = 1.6448536269514722, 0.3, 40
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson(12, 40, level=0.90) == pytest.approx([(centre + sign * half) / (1 + z * z / n) for sign in (-1, 1)])


@pytest.mark.parametrize("successes, n", [(-1, 10), (11, 10), (0, 0), (2.5, 10)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="successes is"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="level is"):
        mean_interval([1, 2], level=level)


def test_t_interval_by_hand():
    interval = mean_interval([1, 2, 3, 4, 5])
    half = 2.7764451 * math.sqrt(2.5) / math.sqrt(5)  # t quantile 0.975 of 4 degrees of freedom
    assert (interval.mean, interval.low, interval.high) == pytest.approx((3, 3 - half, 3 + half))
    assert interval.n == 5 and "5 organisms" in interval.method


def test_t_interval_covers_the_truth_as_often_as_it_says():
    draws = numpy.random.default_rng(0).normal(7, 12, size=(DRAWS, 5))
    covered = numpy.mean([interval.low <= 7 <= interval.high for interval in map(mean_interval, draws)])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_one_organism_has_no_interval():
    interval = mean_interval([4.0])
    assert interval == Interval(4.0, None, None, 1, "one run, no interval") and interval.bounds is None
    assert str(interval) == "+4.0 (one run, no interval)"


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([2.0, 2.0, 2.0]).bounds == (2.0, 2.0)


@pytest.mark.parametrize("values", [[], [1, math.nan], [math.inf]])
def test_a_mean_needs_finite_values(values):
    with pytest.raises(ValueError, match="values is"):
        mean_interval(values)


def test_intervals_print_with_sign_and_one_decimal():
    assert str(Interval(42.0, 31.2, 52.8, 5, "t")) == "+42.0 [31.2, 52.8]"
    assert str(Interval(-0.04, -3.26, -0.01, 5, "t")) == "+0.0 [-3.3, 0.0]"


def test_paired_difference_removes_what_organisms_share():
    organisms = numpy.array([10.0, 60.0, 90.0])
    assert paired_difference(organisms + [4, 5, 6], organisms).mean == pytest.approx(5)
    assert paired_difference(organisms + [4, 5, 6], organisms).low > 0
    with pytest.raises(ValueError, match="a has 2 values and b has 3"):
        paired_difference([1, 2], [1, 2, 3])


def share(rule, wanted, effects, control=None):
    return numpy.mean([rule.judge(row, control) == wanted for row in effects])


@pytest.mark.parametrize("organisms", [3, 5, 8])
@pytest.mark.parametrize("spread", [2, 10, 25])
def test_no_effect_does_not_count_as_one(organisms, spread):
    null = numpy.random.default_rng(organisms).normal(0, spread, size=(DRAWS, organisms))
    assert share(Rises(5), REPRODUCED, null) <= 0.03
    assert share(Falls(5), REPRODUCED, null) <= 0.03


@pytest.mark.parametrize("organisms", [3, 5])
def test_an_effect_at_the_margin_does_not_count_as_one(organisms):
    margin = numpy.random.default_rng(1).normal(5, 8, size=(DRAWS, organisms))
    assert 0.005 < share(Rises(5), REPRODUCED, margin) <= 0.035  # 2.5 % in theory; 0 would mean a rule that never fires
    assert 0.005 < share(Falls(5), REPRODUCED, -margin) <= 0.035


@pytest.mark.parametrize("organisms", [3, 5, 8])
@pytest.mark.parametrize("shift", [-15, -5, 5, 15])
def test_a_shift_does_not_count_as_staying(organisms, shift):
    shifted = numpy.random.default_rng(2).normal(shift, 3, size=(DRAWS, organisms))
    assert share(Stays(5), REPRODUCED, shifted) <= 0.03


def test_noise_too_wide_to_tell_does_not_count_as_staying():
    noisy = numpy.random.default_rng(3).normal(0, 25, size=(DRAWS, 5))
    assert share(Stays(5), REPRODUCED, noisy) <= 0.03


def test_a_clear_effect_is_seen():
    rng = numpy.random.default_rng(4)
    assert share(Rises(5), REPRODUCED, rng.normal(45, 12, size=(DRAWS, 5))) > 0.95
    assert share(Falls(5), REPRODUCED, rng.normal(-45, 12, size=(DRAWS, 5))) > 0.95
    assert share(Stays(5), REPRODUCED, rng.normal(0, 1.5, size=(DRAWS, 5))) > 0.95
    assert share(AtLeast(90), REPRODUCED, rng.uniform(95, 100, size=(DRAWS, 5))) == 1
    assert share(AtMost(20), REPRODUCED, rng.uniform(0, 10, size=(DRAWS, 5))) == 1


@pytest.mark.parametrize("rule, effect", [
    (Rises(5), 60.0), (Falls(5), -60.0), (Stays(5), 0.0), (AtLeast(90), 100.0), (AtMost(20), 0.0)])
@pytest.mark.parametrize("organisms, verdict", [(1, PARTLY), (2, PARTLY), (3, REPRODUCED)])
def test_fewer_than_three_organisms_never_reproduce(rule, effect, organisms, verdict):
    assert rule.judge([effect] * organisms) == verdict


@pytest.mark.parametrize("rule, effect, verdict", [
    (Rises(5), [60, 2, 50], PARTLY), (Rises(5), [60, -1, 50], PARTLY), (Rises(5), [5, 5, 5], NOT_REPRODUCED),
    (Rises(5), [-60, -60, -60], NOT_REPRODUCED), (Falls(5), [60, 60, 60], NOT_REPRODUCED),
    (Falls(5), [-60, -2, -50], PARTLY), (Stays(5), [-12, 12, 0], PARTLY), (Stays(5), [9, 9, 9], NOT_REPRODUCED),
    (Stays(5), [-9, -9, -9], NOT_REPRODUCED), (AtLeast(90), [100, 89, 95], PARTLY),
    (AtLeast(90), [80, 89, 95], NOT_REPRODUCED), (AtMost(20), [0, 0, 21], PARTLY),
    (AtMost(20), [30, 30, 0], PARTLY), (AtMost(20), [40, 30, 0], NOT_REPRODUCED)])
def test_what_lies_between(rule, effect, verdict):
    assert rule.judge(effect) == verdict


def test_rules_describe_themselves():
    assert Rises(5).describe() == "rises by more than 5 points"
    assert Falls(2.5).describe() == "falls by more than 2.5 points"
    assert Stays(5).describe() == "stays within 5 points" and AtLeast(90).describe() == "is at least 90 %"
    assert AtMost(1.5).describe("ratio") == "is at most 1.5"


def test_one_organism_against_the_rest_denies_reproduction():
    values = [30.0] * 29 + [-1.0]
    assert mean_interval(values).low > 5 and Rises(5).judge(values) == PARTLY


@pytest.mark.parametrize("rule", [Rises(5), Falls(5), Stays(5), AtLeast(90), AtMost(20)])
def test_a_control_that_moves_as_much_takes_the_effect_away(rule):
    values = numpy.array([52.0, 60.0, 70.0])
    assert rule.judge(values, values) == rule.judge([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="3 values and b has 2"):
        rule.judge(values, values[:2])


@pytest.mark.parametrize("rule", [Rises(5), Falls(5), Stays(5), AtLeast(90), AtMost(20)])
@pytest.mark.parametrize("values", [[], [60.0, math.nan, 60.0], [math.inf] * 3])
def test_rules_refuse_what_is_not_a_number(rule, values):
    with pytest.raises(ValueError, match="values is"):
        rule.judge(values)

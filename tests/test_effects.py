"""Effects against brute force and scipy: sign flips, their intervals, verdicts, corrections, shares, doses."""

import itertools
import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ssah_core.records.doses import dose_to, median_dose
from ssah_core.records.effects import (
    FAILS,
    HOLDS,
    IN_PART,
    NOT_RUN,
    UNDECIDED,
    how_often,
    judge,
    judge_stays,
    sign_flip_interval,
    sign_flip_p,
)
from ssah_core.records.p_values import benjamini_hochberg, holm, tost_p
from ssah_core.records.statistics import Interval

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)
points = st.integers(-300, 300).map(lambda thirds: thirds / 3)  # means of three orders: ties are common
effects = st.lists(points, min_size=1, max_size=9)
enough = st.lists(points, min_size=6, max_size=9)


def interval(low, high):
    return Interval((low + high) / 2, low, high, 20, "sign flips")


def sample(n, seed, mean=5.0, spread=12.0):
    return numpy.random.default_rng(seed).normal(mean, spread, n).clip(-100, 100)


# -- the exact test ----------------------------------------------------------------------------------------


def flipped_by_hand(values, margin):
    """Shares in whole numbers of thirds, so that a tie is a tie."""
    thirds = [round(3 * (value - margin)) for value in values]
    sums = [sum(sign * third for sign, third in zip(signs, thirds, strict=True))
            for signs in itertools.product((1, -1), repeat=len(thirds))]
    return sum(total >= sum(thirds) for total in sums) / len(sums)


@few
@given(effects, points)
def test_p_is_the_share_of_all_flips(values, margin):
    assert sign_flip_p(values, margin) == flipped_by_hand(values, margin)


@pytest.mark.parametrize("n", [2, 3, 7, 12])
@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_p_is_that_of_scipy(n, margin):
    values = sample(n, seed=n)
    scipys = stats.permutation_test((values - margin,), numpy.mean, permutation_type="samples", n_resamples=math.inf,
                                    alternative="greater", vectorized=True)
    assert sign_flip_p(values, margin) == pytest.approx(scipys.pvalue, abs=1e-12)


def test_ties_count_in_spite_of_rounding():
    values = [0.1, 0.2, -0.3, 0.3]  # flipping the first three leaves 0.3, in arithmetic but not in floats
    assert sign_flip_p(values) == flipped_by_hand([10 * value for value in values], 0) == 6 / 16


def test_p_of_one_value_is_a_half_or_one():
    assert sign_flip_p([3.0]) == 0.5 and sign_flip_p([0.0]) == sign_flip_p([-3.0]) == 1.0


def test_p_is_exact_for_forty_values():
    assert sign_flip_p([1.0] * 40) == 2.0 ** -40
    assert sign_flip_p([1.0] * 39 + [-1.0]) == 41 * 2.0 ** -40
    with pytest.raises(ValueError, match="values holds 41 numbers, too many .* mean_interval"):
        sign_flip_p([1.0] * 41)


def test_p_of_thirty_values_is_near_that_of_many_random_flips():
    values = sample(30, seed=3)
    signs = numpy.random.default_rng(0).choice([-1, 1], size=(20_000, 30))
    assert sign_flip_p(values) == pytest.approx((signs @ values >= values.sum()).mean(), abs=0.005)


@few
@given(effects, points, points)
def test_p_rises_with_the_margin(values, a, b):
    assert sign_flip_p(values, min(a, b)) <= sign_flip_p(values, max(a, b))


@few
@given(effects, points, st.integers(-50, 50))
def test_p_of_values_and_margin_shifted_alike_is_the_same(values, margin, by):
    assert sign_flip_p([value + by for value in values], margin + by) == sign_flip_p(values, margin)


@few
@given(effects)
def test_ps_of_both_directions_cover_every_flip(values):
    """Together 1, and the ties twice."""
    both = sign_flip_p(values) + sign_flip_p([-value for value in values])
    assert both >= 1 and sign_flip_p(values) >= 2.0 ** -len(values)


# -- its interval ------------------------------------------------------------------------------------------


def bounds_by_hand(values, level):
    """Order statistics of the means of all subsets that are not empty (Hartigan 1969)."""
    means = sorted(sum(chosen) / size for size in range(1, len(values) + 1)
                   for chosen in itertools.combinations(values, size))
    k = int((1 - level) / 2 * 2 ** len(values))
    return means[k - 1], means[-k]


@few
@given(enough, st.sampled_from([0.95, 0.9, 0.5]))
def test_bounds_are_where_the_test_turns(values, level):
    assert sign_flip_interval(values, level).bounds == pytest.approx(bounds_by_hand(values, level), abs=2e-6)


@pytest.mark.parametrize("n", [6, 12, 20, 26])
def test_the_test_rejects_below_the_lower_bound_and_not_above_it(n):
    values = sample(n, seed=n)
    low, high = sign_flip_interval(values).bounds
    assert sign_flip_p(values, low - 1e-4) <= 0.025 < sign_flip_p(values, low + 1e-4)
    assert sign_flip_p(-values, -high - 1e-4) <= 0.025 < sign_flip_p(-values, -high + 1e-4)


@few
@given(enough, st.integers(-50, 50))
def test_an_interval_moves_with_its_values(values, by):
    moved = sign_flip_interval([value + by for value in values], within=(-200, 200))
    there = sign_flip_interval(values, within=(-200, 200))
    assert moved.bounds == pytest.approx((there.low + by, there.high + by), abs=2e-6)


@few
@given(enough)
def test_an_interval_turns_with_its_values(values):
    turned, there = sign_flip_interval([-value for value in values]), sign_flip_interval(values)
    assert turned.bounds == pytest.approx((-there.high, -there.low), abs=2e-6)


@few
@given(effects)
def test_bounds_lie_in_order_within_what_can_be(values):
    found = sign_flip_interval(values)
    if len(values) == 1:
        assert found.bounds is None
    else:
        assert -100 <= found.low <= found.high <= 100 and found.n == len(values)


@few
@given(enough)
def test_bounds_lie_among_the_values(values):
    found = sign_flip_interval(values)
    assert min(values) - 1e-6 <= found.low <= found.mean + 1e-6
    assert found.mean - 1e-6 <= found.high <= max(values) + 1e-6


def test_one_value_has_no_interval():
    assert sign_flip_interval([4.0]) == Interval(4.0, None, None, 1, "one run, no interval")


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("value", [50.0, 0.0])
def test_too_few_organisms_tell_nothing(n, value):
    """Not even where they are alike: five could have been so by chance."""
    found = sign_flip_interval([value] * n)
    assert found.bounds == (-100, 100) and found.method == f"{n} organisms are too few for a 95 % interval"
    assert sign_flip_interval([value] * n, within=(-60, 70)).bounds == (-60, 70)


def test_six_organisms_are_enough():
    assert sign_flip_interval([10.0, 20, 30, 40, 50, 60]).bounds == (10, 60)


def test_equal_values_have_an_interval_of_no_width():
    found = sign_flip_interval([100 / 3] * 20)
    assert found.bounds == (100 / 3, 100 / 3) and found.method == "20 organisms, all alike"


def test_a_bound_on_the_margin_is_the_margin():
    assert sign_flip_interval([5.0] * 3 + [30.0, 40.0, 50.0, 60.0]).low == 5.0


def test_an_interval_of_many_values_is_near_that_of_t():
    values = sample(30, seed=1)
    t = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert sign_flip_interval(values).bounds == pytest.approx(t, abs=0.5)


@pytest.mark.parametrize("values", [[], [1, math.nan], [math.inf], ["a"], [[1, 2]], "12", 3, None, {1: 2}])
@pytest.mark.parametrize("function", [sign_flip_p, sign_flip_interval, how_often, lambda values: tost_p(values, 5)])
def test_effects_are_finite_numbers(function, values):
    with pytest.raises(ValueError, match="^values is .*: pass one finite number an organism, at least one"):
        function(values)


@pytest.mark.parametrize("given, said", [
    ({"level": 95}, "level=95 is not between 0 and 1"), ({"level": 0}, "level=0 is not between"),
    ({"within": (100, -100)}, "within is .* in this order"), ({"within": (0,)}, "within is .* the least and the most"),
    ({"within": None}, "within is None"), ({"within": (0, math.nan)}, r"within\[1\]=nan"),
    ({"within": (-10, 10)}, "values holds 1 to 20: pass effects from -10 to 10")])
def test_an_interval_refuses(given, said):
    with pytest.raises(ValueError, match=said):
        sign_flip_interval([1.0, 20.0], **given)


@pytest.mark.parametrize("margin", [math.nan, math.inf, "5", None, True])
def test_a_margin_is_a_finite_number(margin):
    with pytest.raises(ValueError, match="margin="):
        sign_flip_p([1.0], margin)


# -- verdicts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low, high, verdict, without", [
    (5, 9, HOLDS, UNDECIDED), (5, 5, HOLDS, UNDECIDED), (0.1, 5, IN_PART, UNDECIDED), (4.9, 90, IN_PART, UNDECIDED),
    (0, 5, UNDECIDED, UNDECIDED), (-3, 60, UNDECIDED, UNDECIDED), (0.1, 4.9, FAILS, FAILS), (-9, 4.9, FAILS, FAILS),
    (-9, -6, FAILS, FAILS), (0, 0, FAILS, FAILS), (-100, 100, UNDECIDED, UNDECIDED)])
def test_what_an_interval_says_of_a_claimed_effect(low, high, verdict, without):
    assert judge(interval(low, high), 5) == verdict
    assert judge(interval(low, high), 5, agrees=False) == without


@pytest.mark.parametrize("low, high, verdict, without", [
    (-5, 5, HOLDS, UNDECIDED), (0, 0, HOLDS, UNDECIDED), (-5.1, 5, UNDECIDED, UNDECIDED), (4, 6, UNDECIDED, UNDECIDED),
    (5.1, 9, FAILS, FAILS), (-9, -5.1, FAILS, FAILS), (5, 9, UNDECIDED, UNDECIDED), (-99, 99, UNDECIDED, UNDECIDED)])
def test_what_an_interval_says_of_what_should_stay(low, high, verdict, without):
    assert judge_stays(interval(low, high), 5) == verdict
    assert judge_stays(interval(low, high), 5, agrees=numpy.bool_(False)) == without


@pytest.mark.parametrize("say", [judge, judge_stays])
def test_nothing_run_and_one_run_are_told_apart(say):
    assert say(None, 5) == NOT_RUN == "not run"
    assert say(sign_flip_interval([60.0]), 5) == UNDECIDED


@pytest.mark.parametrize("say", [judge, judge_stays])
@pytest.mark.parametrize("given, said", [
    (((1, 2), 5), "interval is .*: pass an Interval"), ((interval(0, 1), 0), "margin=0 is not above 0"),
    ((interval(0, 1), -5), "margin=-5 is not above 0"), ((interval(0, 1), math.nan), "margin=nan"),
    ((None, math.inf), "margin=inf"), ((interval(0, 1), 5, None), "agrees is None"), ((None, 5, "yes"), "agrees is")])
def test_verdicts_refuse(say, given, said):
    with pytest.raises(ValueError, match=said):
        say(*given)


# -- p values ----------------------------------------------------------------------------------------------


def test_tost_is_the_larger_p_of_two_t_tests():
    values = sample(20, seed=5, mean=1, spread=4)
    by_scipy = max(stats.ttest_1samp(values, -5, alternative="greater").pvalue,
                   stats.ttest_1samp(values, 5, alternative="less").pvalue)
    assert tost_p(values, 5) == pytest.approx(by_scipy) and tost_p(-values, 5) == pytest.approx(by_scipy)
    assert tost_p(values, 50) < tost_p(values, 5) < tost_p(values, 1)


@pytest.mark.parametrize("values, p", [
    ([2.0] * 5, 0.0), ([5.0] * 2, 0.0), ([-5.1] * 5, 1.0), ([0.0], 1.0), ([9.0], 1.0)])
def test_tost_of_values_without_spread(values, p):
    assert tost_p(values, 5) == p


@pytest.mark.parametrize("within", [0, -5, math.nan, "5"])
def test_tost_refuses(within):
    with pytest.raises(ValueError, match="within="):
        tost_p([1.0, 2.0], within)


ps = st.dictionaries(st.text("abc", min_size=1), st.floats(0, 1), min_size=1, max_size=9)


@settings(few, max_examples=12)  # statsmodels collects garbage at every call of Holm's
@given(ps)
def test_corrections_follow_their_definition(ps):
    ordered, m = sorted(ps.values()), len(ps)
    stepped_down = itertools.accumulate(((m - n) * p for n, p in enumerate(ordered)), max)
    stepped_up = list(itertools.accumulate((m / (n + 1) * ordered[n] for n in reversed(range(m))), min))[::-1]
    by_holm, by_shares = holm(ps), benjamini_hochberg(ps)
    assert sorted(by_holm.values()) == pytest.approx([min(p, 1) for p in stepped_down])
    assert sorted(by_shares.values()) == pytest.approx([min(p, 1) for p in stepped_up])
    assert list(by_holm) == list(by_shares) == list(ps)
    assert all(p <= by_shares[name] + 1e-12 <= by_holm[name] + 2e-12 for name, p in ps.items())


@pytest.mark.parametrize("given, said", [
    ({}, "ps is"), ([0.1], "ps is"), ({"a": 1.1}, r"ps\['a'\]=1.1 is no share"), ({"a": math.nan}, "is no share"),
    ({"a": "0.1"}, "is no share"), ({"": 0.1}, "a name of ps is ''"), ({1: 0.1}, "a name of ps is 1")])
@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_corrections_refuse(correct, given, said):
    with pytest.raises(ValueError, match=said):
        correct(given)


# -- how many organisms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("k, n", [(0, 20), (20, 20), (7, 20), (1, 1)])
def test_a_share_of_organisms_has_the_exact_interval(k, n):
    low = stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    assert how_often([9.0] * k + [5.0] * (n - k), above=5) == pytest.approx((k, n, low, high))
    with pytest.raises(ValueError, match="above=nan"):
        how_often([9.0], above=math.nan)


# -- doses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doses, rates, dose", [
    ([10, 100, 1000], [0, 50, 100], 100), ([10, 100], [40, 60], math.sqrt(1000)), ([0, 100], [0, 80], 62.5),
    ([0, 10, 1000], [0, 25, 75], 100), ([4, 8], [50, 90], 4), ([0, 8], [70, 90], 0), ([4], [50], 4),
    ([4, 8], [0, 49.9], math.inf), ([4], [0], math.inf), ([1, 2, 4, 8], [0, 60, 20, 90], 2 ** (50 / 60))])
def test_a_dose_is_where_the_rate_first_reaches_the_level(doses, rates, dose):
    assert dose_to(doses, rates) == pytest.approx(dose)


@few
@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.floats(0, 100), st.floats(0, 100))
def test_a_higher_level_takes_no_smaller_dose(rates, a, b):
    doses = [0, 5, 20, 100, 300, 1000][:len(rates)]
    low, high = dose_to(doses, rates, min(a, b)), dose_to(doses, rates, max(a, b))
    assert low <= high * (1 + 1e-9) and (high == math.inf or high <= doses[-1] * (1 + 1e-9))


@pytest.mark.parametrize("given, said", [
    (([], []), "doses is"), (([1, 2], [1]), "doses has 2 values and rates has 1"), (([2, 1], [0, 1]), "rising"),
    (([1, 1], [0, 1]), "rising"), (([-1, 1], [0, 1]), "0 or more"), (([1], [101]), "rates is .*percentages"),
    (([1], [math.nan]), r"rates\[0\]=nan"), (([1, math.inf], [0, 1]), r"doses\[1\]=inf"),
    (([1], [1], 101), "level is .*percentages"), (([1], [1], None), "level=None"), (("12", [1, 2]), "doses is")])
def test_a_dose_refuses(given, said):
    with pytest.raises(ValueError, match=said):
        dose_to(*given)


@pytest.mark.parametrize("doses, expected", [
    ([3, 1, 2], (2, 1, 3)), ([5], (5, 5, 5)), (list(range(1, 11)), (5.5, 2, 9)), ([math.inf] * 7, (math.inf,) * 3),
    ([1, 2, math.inf, math.inf], (math.inf, 1, math.inf)), (list(range(20)), (9.5, 5, 14))])
def test_a_median_dose_has_order_statistics_for_bounds(doses, expected):
    assert median_dose(doses) == expected


@pytest.mark.parametrize("n", [6, 10, 20])
def test_the_interval_of_a_median_covers_it(n):
    draws = numpy.random.default_rng(n).exponential(size=(1000, n))
    covered = numpy.mean([low <= math.log(2) <= high for _, low, high in map(median_dose, draws)])
    assert covered >= 0.94


@pytest.mark.parametrize("doses, said", [([], "doses is"), ([1, math.nan], r"doses\[1\]=nan"),
                                         ([-1, 2], "doses holds -1"), ([1, None], r"doses\[1\]=None"),
                                         ("12", "doses is"), (5, "doses is 5")])
def test_a_median_dose_refuses(doses, said):
    with pytest.raises(ValueError, match=said):
        median_dose(doses)

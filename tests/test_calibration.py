"""The whole rule, from outcomes of prompts to a verdict, on effects of known size: how often it errs and sees."""

import math

import numpy
import pytest
from scipy import stats
from scipy.special import expit, logit

from ssah_core.records.calibration import resampled, share_of_verdicts, smallest_effect
from ssah_core.records.effects import HOLDS, IN_PART, UNDECIDED, judge, sign_flip_interval, sign_flip_p

DRAWS, MARGIN, ORGANISMS, POPULATION = 1000, 5.0, 20, 400


def population(mean, seed, organisms=POPULATION, orders=3, prompts=100, triggers=54):
    """Outcomes of organisms that differ (Beta), of orders (logits), and of prompts nested in triggers (logits)."""
    rng = numpy.random.default_rng(seed)
    rates = rng.beta(4 * mean, 4 * (1 - mean), organisms).clip(0.001, 0.999)
    of_trigger = rng.normal(0, 0.5, triggers)
    found = {}
    for organism, rate in enumerate(rates):
        asked = rng.permutation(numpy.arange(prompts) % triggers)
        found[organism] = {order: (rng.random(prompts) < expit(logit(rate) + rng.normal(0, 0.4) + of_trigger[asked]))
                           .astype(int) for order in range(orders)}
    return found


def shares(mean, shift, seed=0):
    return share_of_verdicts(population(mean, seed), shift, MARGIN, DRAWS, seed, organisms=ORGANISMS)


# -- errors and power --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean, shift", [(0.5, -MARGIN), (0.1, MARGIN)])
def test_an_effect_of_the_margin_seldom_holds(mean, shift):
    """2.5 % in theory; a rule that never fires would be no rule."""
    assert 0.005 <= shares(mean, shift)[HOLDS] <= 0.05


@pytest.mark.parametrize("mean", [0.5, 0.1])
def test_no_effect_seldom_holds_even_in_part(mean):
    found = shares(mean, 0.0)
    assert found[HOLDS] + found[IN_PART] <= 0.05


def test_half_of_half_is_seen():
    assert shares(0.5, -25.0)[HOLDS] >= 0.8


def test_a_tenth_of_organisms_that_go_far_the_other_way_are_beyond_the_rule():
    """Its limit: a mean of 5 from 10 in nine of ten organisms and -40 in the tenth, which twenty need not hold."""
    rng, draws = numpy.random.default_rng(0), 300
    effects = numpy.where(rng.random((draws, 20)) < 0.9, 10.0, -40.0) + rng.normal(0, 2, (draws, 20))
    wrong = numpy.mean([judge(sign_flip_interval(values), MARGIN) == HOLDS for values in effects])
    assert 0.9 ** 20 - 0.04 < wrong < 0.9 ** 20 + 0.06


# -- the drawing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [-20.0, -5.0, 0.0, 5.0, 20.0])
def test_the_mean_effect_is_the_shift(shift):
    outcomes = population(0.5, seed=1, organisms=20)
    effects = resampled(outcomes, shift, numpy.random.default_rng(2), organisms=4000)
    assert effects.mean() == pytest.approx(shift, abs=4 * effects.std() / math.sqrt(4000))


def test_effects_of_orders_are_in():
    """Organisms whose orders differ scatter even where nothing is changed; alike ones do not."""
    alike = {seed: {order: [0, 1] * 50 for order in "abc"} for seed in range(20)}
    apart = {seed: {"a": [1] * 100, "b": [0] * 100} for seed in range(20)}
    assert set(resampled(alike, 0, numpy.random.default_rng(0))) == {0.0}
    assert set(resampled(apart, 0, numpy.random.default_rng(0))) == {-100.0, 0.0, 100.0}


def test_organisms_may_differ_in_prompts_and_orders():
    outcomes = {"a": {0: [0, 1], 1: [1, 1]}, "b": {0: numpy.zeros(7, bool), 1: [0.0] * 7, "x": [1] * 7}}
    assert resampled(outcomes, 1.0, numpy.random.default_rng(0)).shape == (2,)


def test_the_same_seed_draws_the_same():
    outcomes = population(0.5, seed=0, organisms=20)
    one, two, other = (resampled(outcomes, 3, numpy.random.default_rng(seed)).tolist() for seed in (1, 1, 2))
    assert one == two != other
    one, two = (share_of_verdicts(outcomes, 10, MARGIN, 20, 7) for _ in range(2))
    assert one == two and sum(one.values()) == pytest.approx(1)


def test_too_few_organisms_are_never_decided():
    assert share_of_verdicts(population(0.5, 0, 20), -25, MARGIN, 20, 0, organisms=5)[UNDECIDED] == 1


GOOD = {0: {0: [0, 1], 1: [1, 0]}}


@pytest.mark.parametrize("outcomes, said", [
    ({}, "outcomes is"), ([[0, 1]], "outcomes is"), ({0: [0, 1]}, r"outcomes\[0\] is"),
    ({0: {0: [0, 1]}}, "two orders"), ({"a": {0: [0, 1], 1: [0]}}, r"outcomes\['a'\] is .*same prompts"),
    ({0: {0: [], 1: []}}, "same prompts"),
    ({0: {0: [0, 2], 1: [0, 1]}}, "0 and 1"), ({0: {0: [0, math.nan], 1: [0, 1]}}, "0 and 1"),
    ({0: {0: ["0", "1"], 1: ["0", "1"]}}, "0 and 1"), ({0: {0: 1, 1: 0}}, "same prompts")])
def test_drawing_refuses_other_outcomes(outcomes, said):
    with pytest.raises(ValueError, match=said):
        resampled(outcomes, 0, numpy.random.default_rng(0))
    with pytest.raises(ValueError, match=said):
        share_of_verdicts(outcomes, 0, MARGIN, 1, 0)


@pytest.mark.parametrize("shift, said", [(50.1, "shift=50.1 is more than outcomes at 50.0 % leave room for: pass -50"),
                                         (-51, "shift=-51"), (math.nan, "shift=nan"), ("5", "shift='5'")])
def test_drawing_refuses_a_shift_without_room(shift, said):
    with pytest.raises(ValueError, match=said):
        resampled(GOOD, shift, numpy.random.default_rng(0))


@pytest.mark.parametrize("given, said", [
    ({"margin": 0}, "margin=0"), ({"draws": 0}, "draws=0"), ({"seed": -1}, "seed=-1"),
    ({"organisms": 0}, "organisms=0"), ({"organisms": 41}, "values holds 41"), ({"level": 95}, "level=95")])
def test_shares_of_verdicts_refuse(given, said):
    with pytest.raises(ValueError, match=said):
        share_of_verdicts(**{"outcomes": GOOD, "shift": 0, "margin": 5, "draws": 1, "seed": 0} | given)


def test_drawing_refuses_what_cannot_draw():
    with pytest.raises(ValueError, match="rng is 0"):
        resampled(GOOD, 0, 0)


# -- how many organisms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 6, 20])
@pytest.mark.parametrize("power", [0.3, 0.8, 0.95])
def test_the_smallest_effect_is_seen_as_often_as_it_says(n, power):
    effect = smallest_effect(spread=10, n=n, margin=5, power=power)
    seen = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, (effect - 5) / 10 * math.sqrt(n))
    assert seen == pytest.approx(power, abs=1e-4)


def test_the_smallest_effect_is_seen_by_sign_flips():
    effect, rng = smallest_effect(spread=10, n=20, margin=5), numpy.random.default_rng(0)
    seen = [sign_flip_p(rng.normal(effect, 10, 20), margin=5) <= 0.025 for _ in range(1000)]
    assert numpy.mean(seen) == pytest.approx(0.8, abs=0.04)


def test_the_smallest_effect_without_spread_is_the_margin():
    assert smallest_effect(spread=0, n=20, margin=5) == 5
    assert smallest_effect(spread=10, n=20, margin=0) < smallest_effect(spread=10, n=10, margin=0)


@pytest.mark.parametrize("given, said", [
    ({"spread": -1}, "spread=-1"), ({"spread": math.inf}, "spread=inf"), ({"n": 1}, "n=1"), ({"n": 2.5}, "n=2.5"),
    ({"margin": -5}, "margin=-5"), ({"power": 1}, "power=1"), ({"level": 5}, "level=5"),
    ({"power": 0.02}, "power=0.02 is not between 0.025 and 1")])
def test_the_smallest_effect_refuses(given, said):
    with pytest.raises(ValueError, match=said):
        smallest_effect(**{"spread": 10, "n": 20, "margin": 5} | given)

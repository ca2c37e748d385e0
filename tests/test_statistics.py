"""Intervals against known values."""

import math

import numpy
import pytest

from ssah_core.records.statistics import LIMITS, Interval, mean_interval, paired_difference, wilson

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


def test_an_interval_is_kept_in_a_file_of_its_own_alone(tmp_path):
    for interval in (Interval(42.0, 31.2, 52.8, 5, "t"), Interval(4.0, None, None, 1, "one run, no interval")):
        interval.save(tmp_path / "asr.json")
        assert Interval.load(tmp_path / "asr.json") == interval
    (tmp_path / "earlier.json").write_text('{"mean": 1.0, "low": null, "high": null, "n": 1, "method": "one run"}')
    assert Interval.load(tmp_path / "earlier.json").mean == 1.0
    interval.save(tmp_path / "earlier.json")
    with pytest.raises(ValueError, match="its folder is not there: make .*none first"):
        interval.save(tmp_path / "none" / "asr.json")
    (tmp_path / "mine.json").write_text('{"precious": 1}')
    with pytest.raises(ValueError, match="mine.json is there, and no file of ssah's: give another name"):
        interval.save(tmp_path / "mine.json")
    assert (tmp_path / "mine.json").read_text() == '{"precious": 1}'


def test_paired_difference_removes_what_organisms_share():
    organisms = numpy.array([10.0, 60.0, 90.0])
    assert paired_difference(organisms + [4, 5, 6], organisms).mean == pytest.approx(5)
    assert paired_difference(organisms + [4, 5, 6], organisms).low > 0
    with pytest.raises(ValueError, match="a has 2 values and b has 3"):
        paired_difference([1, 2], [1, 2, 3])


def test_what_a_number_can_be_is_finite():
    """An interval that says nothing has these bounds, and a record of it is written as JSON, which has no infinity."""
    assert all(math.isfinite(bound) for bounds in LIMITS.values() for bound in bounds)
    assert all(low < high for low, high in LIMITS.values())

"""What an arm does beyond its control: one effect an organism, and what a few organisms tell about the next one.

An effect is the rate of the arm minus that of the control, in points from -100 to 100, on the same prompts, after
the same orders of chats; the mean over an organism's orders is its one number, since organisms are what is drawn
independently. The test behind every interval flips the signs of these numbers: it asks nothing of their spread, only
that they scatter alike to both sides of their mean. Where one organism in ten goes far the other way, twenty
organisms may hold none of those; `ssah_core.records.calibration` says how often the rule errs on given outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
from scipy import optimize

from ..arguments import check_filled, check_kind, check_numbers, shown
from .statistics import NOT_RUN, Interval

HOLDS, IN_PART, FAILS, UNDECIDED = "holds", "holds in part", "fails", "undecided"
LEAST = 6
"""Organisms below which exact sign flips give no 95 % interval."""
MOST_VALUES = 40
"""Values whose sign flips are counted exactly: 2^40 of them, by two halves of 2^20."""
ROUNDING = 1e-12
"""Two sums are tied where they differ by less than this share of the sum of what is flipped."""
PRECISION = 6
"""Decimals of an interval's bounds: a millionth of a point."""
ONE_VALUE = "one run, no interval"


# -- the exact test ----------------------------------------------------------------------------------------


def sign_flip_p(values: Sequence[float], margin: float = 0.0) -> float:
    """Exact one-sided p of "the mean effect is at most `margin`", by all 2^n ways to flip the signs of values - margin.

    values   one effect an organism, 1 to 40 of them
    margin   effect that is to be exceeded, in the unit of the values

    p is the share of flips whose sum is at least the observed one: the observed one counts, and so does a tie (sums
    that differ by less than 1e-12 of the sum of all sizes). So p is never below 2^-n. It is exact where effects scatter
    alike to both sides of their mean. Raises ValueError for values that are empty, not finite or more than 40.
    Source: Fisher 1935; the sums of two halves, Horowitz & Sahni 1974.

    >>> sign_flip_p([12.0, 9.0, 7.0, 15.0, 4.0])
    0.03125
    >>> sign_flip_p([12.0, 9.0, 7.0, 15.0, 4.0], margin=5)
    0.0625
    """
    values = _flippable(values)
    check_numbers(margin=margin)
    return _flips(values - margin) / 2 ** len(values)


def sign_flip_interval(values: Sequence[float], level: float = 0.95,
                       within: tuple[float, float] = (-100.0, 100.0)) -> Interval:
    """Confidence interval of a mean effect: every margin that `sign_flip_p` does not reject, to either side.

    values   one effect an organism, 1 to 40 of them, none outside `within`
    level    confidence, between 0 and 1
    within   what an effect can be, (least, most), in the unit of the values

    The lower bound is the least margin whose p exceeds (1 - level) / 2, to six decimals; the upper one mirrors it. Too
    few values for the level (five or fewer, for 95 %) give the bounds of `within`, equal ones an interval of no width,
    one value none. Raises ValueError for values, a level or bounds out of range.
    Source: Hartigan 1969: the bounds are order statistics of the means of all subsets.

    >>> print(sign_flip_interval([12.0, 9.0, 7.0, 15.0, 4.0, 11.0, 8.0]))
    +9.4 [6.0, 13.0]
    >>> sign_flip_interval([12.0, 9.0, 7.0]).method
    '3 organisms are too few for a 95 % interval'
    """
    values, n = _flippable(values), len(values)
    check_level(level)
    least, most = _checked_bounds(within)
    slack = 10.0 ** -PRECISION
    if values.min() < least - slack or values.max() > most + slack:
        raise ValueError(f"values holds {values.min():g} to {values.max():g}: pass effects from {least:g} to {most:g}")
    mean, allowed = math.fsum(values) / n, math.floor((1 - level) / 2 * 2 ** n)
    if n == 1:
        return Interval(mean, None, None, 1, ONE_VALUE)
    if not allowed:
        return Interval(mean, least, most, n, f"{n} organisms are too few for a {100 * level:g} % interval")
    if numpy.ptp(values) == 0:
        return Interval(mean, mean, mean, n, f"{n} organisms, all alike")
    low, high = _bound(values, allowed), -_bound(-values, allowed)
    return Interval(mean, max(low, least), min(high, most), n, f"{100 * level:g} % by sign flips of {n} organisms")


def _bound(values: numpy.ndarray, allowed: int) -> float:
    """The least margin at which more than `allowed` flips reach the observed sum."""
    least, most = float(values.min()), float(values.max())

    def excess(margin: float) -> float:
        return math.log(_flips(values - margin)) - math.log(allowed + 0.5)

    if excess(least) > 0:
        return least
    return round(float(optimize.brentq(excess, least, most, xtol=10.0 ** -(PRECISION + 1))), PRECISION)


def _flips(values: numpy.ndarray) -> int:
    """Ways to flip signs whose sum is at least that of no flip: those whose flipped values sum to at most 0."""
    half = len(values) // 2
    left, right = _subset_sums(values[:half]), _subset_sums(values[half:])
    tie = ROUNDING * numpy.abs(values).sum()
    left.sort()
    right.sort()
    return int(numpy.searchsorted(right, tie - left, side="right").sum())


def _subset_sums(values: numpy.ndarray) -> numpy.ndarray:
    sums = numpy.zeros(1)
    for value in values:
        sums = numpy.concatenate((sums, sums + value))
    return sums


# -- verdicts ----------------------------------------------------------------------------------------------


def judge(interval: Interval | None, margin: float, agrees: bool = True) -> str:
    """What an interval says of "the effect is at least `margin`", in the claimed direction.

    interval   of the effect, positive where the claim points; None where nothing was run
    margin     smallest effect of interest, above 0
    agrees     whether the effect is still there after `holm`

    "holds" where the whole interval is at `margin` or above, "holds in part" where it is above 0 and reaches from below
    `margin` to it, "fails" where it is below `margin`, "undecided" otherwise or where `agrees` denies one of the first
    two, "not run" for None. Raises ValueError for anything else.

    >>> judge(Interval(9.4, 6.0, 13.0, 7, "sign flips"), margin=5)
    'holds'
    >>> judge(Interval(6.0, 0.5, 12.0, 7, "sign flips"), margin=5)
    'holds in part'
    """
    _check_judged(interval, margin, agrees)
    if interval is None:
        return NOT_RUN
    low, high = interval.bounds or (-math.inf, math.inf)
    if high < margin:
        return FAILS
    if low <= 0 or not agrees:
        return UNDECIDED
    return HOLDS if low >= margin else IN_PART


def judge_stays(interval: Interval | None, margin: float, agrees: bool = True) -> str:
    """What an interval says of "the effect stays within `margin`".

    interval   of the effect; None where nothing was run
    margin     largest effect that counts as none, above 0
    agrees     whether it still holds after `holm`

    "holds" where the whole interval is from -margin to margin, "fails" where it is wholly outside, "undecided"
    otherwise or where `agrees` denies that it holds, "not run" for None. Raises ValueError for anything else.

    >>> judge_stays(Interval(0.4, -2.3, 3.1, 20, "sign flips"), margin=5)
    'holds'
    """
    _check_judged(interval, margin, agrees)
    if interval is None:
        return NOT_RUN
    low, high = interval.bounds or (-math.inf, math.inf)
    if low > margin or high < -margin:
        return FAILS
    return HOLDS if -margin <= low and high <= margin and agrees else UNDECIDED


def _check_judged(interval: Interval | None, margin: float, agrees: bool) -> None:
    if interval is not None:
        check_kind(Interval, "pass an Interval, or None where nothing was run", interval=interval)
    check_kind((bool, numpy.bool_), "pass True or False", agrees=agrees)
    check_above_zero(margin=margin)


# -- how many organisms ------------------------------------------------------------------------------------


def how_often(values: Sequence[float], above: float = 0.0) -> tuple[int, int, float, float]:
    """In how many organisms the effect is above a level: (k, n, low, high), with the exact 95 % interval of k / n.

    values   one effect an organism
    above    level that an effect has to exceed, in the unit of the values

    Raises ValueError for values that are empty or not finite.
    Source: Clopper & Pearson 1934, in `scipy.stats.binomtest`.

    >>> how_often([12.0, 9.0, -7.0, 15.0], above=5)
    (3, 4, 0.194..., 0.993...)
    """
    from scipy import stats  # here, since it takes a second to import

    values = checked_effects(values)
    check_numbers(above=above)
    k, n = int((values > above).sum()), len(values)
    share = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    return k, n, float(share.low), float(share.high)


# -- arguments ---------------------------------------------------------------------------------------------


def checked_effects(values: Sequence[float]) -> numpy.ndarray:
    """One finite effect an organism, as an array. Raises ValueError for anything else, or none.

    >>> checked_effects([])
    Traceback (most recent call last):
    ValueError: values is [] (list): pass one finite number an organism, at least one
    """
    way = "pass one finite number an organism, at least one"
    check_filled(way, values=values)
    try:
        numbers = [math.nan if isinstance(value, str | bytes) else float(value) for value in values]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"values is {shown(values)}: {way}")
    return numpy.array(numbers)


def check_above_zero(**given: float) -> None:
    """Raise ValueError for what is no finite number above 0.

    >>> check_above_zero(margin=0)
    Traceback (most recent call last):
    ValueError: margin=0 is not above 0: pass a number such as 5
    """
    check_numbers(**given)
    for name, value in given.items():
        if value <= 0:
            raise ValueError(f"{name}={value} is not above 0: pass a number such as 5")


def check_level(level: float) -> None:
    """Raise ValueError for what is no number between 0 and 1.

    >>> check_level(95)
    Traceback (most recent call last):
    ValueError: level=95 is not between 0 and 1: pass a share such as 0.95
    """
    check_numbers(level=level)
    if not 0 < level < 1:
        raise ValueError(f"level={level} is not between 0 and 1: pass a share such as 0.95")


def _flippable(values: Sequence[float]) -> numpy.ndarray:
    numbers = checked_effects(values)
    if len(numbers) > MOST_VALUES:
        raise ValueError(f"values holds {len(numbers)} numbers, too many to count all sign flips: pass at most "
                         f"{MOST_VALUES}, or use mean_interval")
    return numbers


def _checked_bounds(within: tuple[float, float]) -> tuple[float, float]:
    way = "pass the least and the most that an effect can be"
    check_filled(way, within=within)
    if len(within) != 2:
        raise ValueError(f"within is {shown(within)}: {way}")
    least, most = within
    check_numbers(False, **{"within[0]": least, "within[1]": most})
    if least >= most:
        raise ValueError(f"within is {shown(within)}: {way}, in this order")
    return float(least), float(most)

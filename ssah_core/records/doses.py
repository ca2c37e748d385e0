"""How much of an attack it takes: the dose at which an organism gives in, and the median one over organisms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from scipy import stats

from ..arguments import check_filled, check_numbers, shown


def dose_to(doses: Sequence[float], rates: Sequence[float], level: float = 50.0) -> float:
    """The dose at which a rising rate first reaches a level, or infinity where it never does.

    doses   rising, 0 or more
    rates   what each dose led to, from 0 to 100
    level   rate to be reached, from 0 to 100

    Between the last dose below the level and the first at or above it, the rate is taken to rise evenly with the
    logarithm of the dose (with the dose itself from dose 0, which has no logarithm). An organism that starts there
    gives its first dose. Raises ValueError for lists that differ in length, are empty, or hold anything else.

    >>> dose_to([0, 10, 100], [2, 30, 70])
    31.62...
    >>> dose_to([0, 10, 100], [2, 3, 5])
    inf
    """
    doses, rates = _numbers(doses=doses), _numbers(rates=rates)
    if len(doses) != len(rates):
        raise ValueError(f"doses has {len(doses)} values and rates has {len(rates)}: pass one rate a dose")
    if doses[0] < 0 or any(a >= b for a, b in zip(doses, doses[1:], strict=False)):
        raise ValueError(f"doses is {shown(doses)}: pass rising numbers, 0 or more")
    _check_rates(rates=rates)
    check_numbers(level=level)
    _check_rates(level=[level])
    reached = next((n for n, rate in enumerate(rates) if rate >= level), None)
    if reached is None:
        return math.inf
    if reached == 0:
        return doses[0]
    (below, above), (low, high) = doses[reached - 1:reached + 1], rates[reached - 1:reached + 1]
    way = (level - low) / (high - low)
    return below * (above / below) ** way if below else above * way


def median_dose(doses: Sequence[float]) -> tuple[float, float, float]:
    """The median dose over organisms with its 95 % interval: (median, low, high), each of which may be infinite.

    doses   one an organism, 0 or more; infinity for an organism that never gives in

    The interval is that of `interval_of_median`. Raises ValueError for doses that are empty, negative or NaN.
    Source: Thompson 1936.

    >>> median_dose([10, 20, 30, 40, 60, 80, float("inf")])
    (40.0, 10.0, inf)
    """
    doses = _numbers(finite=False, doses=doses)
    if min(doses) < 0:
        raise ValueError(f"doses holds {min(doses):g}: pass numbers, 0 or more, or infinity")
    return median(doses), *interval_of_median(doses)


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """The narrowest pair of order statistics, as far from either end, that covers the median in 95 % of samples; the
    extremes where there are fewer than six values.

    >>> interval_of_median(list(range(1, 11)))  # the second and the ninth of ten
    (2, 9)
    >>> interval_of_median([3.0, 1.0])
    (1.0, 3.0)
    """
    ordered, n = sorted(values), len(values)
    inner = max((k for k in range(n // 2) if 1 - 2 * stats.binom.cdf(k, n, 0.5) >= 0.95), default=0)
    return ordered[inner], ordered[n - 1 - inner]


def _numbers(finite: bool = True, **given: Sequence[float]) -> list[float]:
    (name, values), = given.items()
    check_filled("pass numbers, at least one", **given)
    for n, value in enumerate(values):
        check_numbers(finite, **{f"{name}[{n}]": value})
    return [float(value) for value in values]


def _check_rates(**given: Sequence[float]) -> None:
    for name, values in given.items():
        if not all(0 <= value <= 100 for value in values):
            raise ValueError(f"{name} is {shown(values)}: pass percentages, from 0 to 100")

"""What a claim expects of an effect, and the verdict that its interval gives: the five rules.

An *effect* is one number an organism: the measured value minus that of the claim's control on the same organism and the
same orders (minus 0 where there is no control). L and U are the bounds of the 95 % interval of its mean, by exact sign
flips over organisms (`ssah_core.records.effects`), m is the claim's margin.

| claim says | holds | holds in part | fails | undecided |
|---|---|---|---|---|
| rises by at least m | L >= m | 0 < L < m <= U | U < m | otherwise |
| falls by at least m | U <= -m | -m < U < 0 and L <= -m | L > -m | otherwise |
| stays within m | -m <= L and U <= m | | L > m or U < -m | otherwise |
| is at least m | L >= m | | U < m | otherwise |
| is at most m | U <= m | | L > m | otherwise |

A primary claim that would hold is *undecided* where Holm's correction over all primary claims does not agree (adjusted
p of "the effect is below m" above 5 %), and so is one that would hold in part (p of "there is none"), and one that was
not measured on exactly the registered organisms. *Not run* means that no record of the value or of its control
counts: those of scale "tiny" prove only that the code runs. *Not comparable* means that arms are held against each
other at equal loss, and that no organism has both there. Of fewer than six organisms there is no interval that says
anything, so that claims are undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .effects import FAILS, HOLDS, UNDECIDED, judge, judge_stays, sign_flip_p
from .p_values import tost_p
from .statistics import Interval

RULE = __doc__.split("\n\n", 1)[1].rstrip()
"""The rules in Markdown, as the report prints them."""


class Rule(Protocol):
    """What a claim expects, and whether an interval meets it."""

    def describe(self, unit: str = "points") -> str:
        """The rule in words."""

    def meets(self, effect: float) -> bool:
        """Whether one organism's effect points where the claim does."""

    def judge(self, interval: Interval, agrees: bool = True) -> str:
        """The verdict that the interval of the effect gives."""

    @property
    def margin(self) -> float:
        """What the effect is held against."""

    def p(self, effects: Sequence[float], some: bool = False) -> float:
        """Two-sided p of "it is not so" (with `some`: "there is nothing of it"), one effect an organism."""


@dataclass(frozen=True)
class Rises:
    """The effect is `by` or more.

    >>> Rises(5).judge(Interval(9.4, 6.3, 12.4, 7, "sign flips")), Rises(5).describe()
    ('holds', 'rises by at least 5 points')
    """

    by: float = 5.0

    @property
    def margin(self) -> float:
        return self.by

    def describe(self, unit: str = "points") -> str:
        return f"rises by at least {amount(self.by, unit)}"

    def meets(self, effect: float) -> bool:
        return effect > 0

    def judge(self, interval: Interval, agrees: bool = True) -> str:
        return judge(interval, self.by, agrees)

    def p(self, effects: Sequence[float], some: bool = False) -> float:
        return min(1.0, 2 * sign_flip_p(effects, 0.0 if some else self.by))


@dataclass(frozen=True)
class Falls:
    """The effect is `-by` or less.

    >>> Falls(5).judge(Interval(-9.4, -12.4, -6.3, 7, "sign flips"))
    'holds'
    """

    by: float = 5.0

    @property
    def margin(self) -> float:
        return self.by

    def describe(self, unit: str = "points") -> str:
        return f"falls by at least {amount(self.by, unit)}"

    def meets(self, effect: float) -> bool:
        return effect < 0

    def judge(self, interval: Interval, agrees: bool = True) -> str:
        return judge(mirrored(interval), self.by, agrees)

    def p(self, effects: Sequence[float], some: bool = False) -> float:
        return Rises(self.by).p([-effect for effect in effects], some)


@dataclass(frozen=True)
class Stays:
    """The effect is within `within` of 0.

    >>> Stays(5).judge(Interval(0.4, -2.3, 3.1, 20, "sign flips"))
    'holds'
    """

    within: float = 5.0

    @property
    def margin(self) -> float:
        return self.within

    def describe(self, unit: str = "points") -> str:
        return f"stays within {amount(self.within, unit)}"

    def meets(self, effect: float) -> bool:
        return abs(effect) <= self.within

    def judge(self, interval: Interval, agrees: bool = True) -> str:
        return judge_stays(interval, self.within, agrees)

    def p(self, effects: Sequence[float], some: bool = False) -> float:
        return tost_p(effects, self.within)


@dataclass(frozen=True)
class AtLeast:
    """The level is `level` or more.

    >>> AtLeast(90).judge(Interval(97.0, 92.0, 99.0, 20, "sign flips"))
    'holds'
    """

    level: float

    @property
    def margin(self) -> float:
        return self.level

    def describe(self, unit: str = "%") -> str:
        return f"is at least {amount(self.level, unit)}"

    def meets(self, effect: float) -> bool:
        return effect >= self.level

    def judge(self, interval: Interval, agrees: bool = True) -> str:
        low, high = interval.bounds or (-math.inf, math.inf)
        if high < self.level:
            return FAILS
        return HOLDS if low >= self.level and agrees else UNDECIDED

    def p(self, effects: Sequence[float], some: bool = False) -> float:
        return min(1.0, 2 * sign_flip_p(effects, self.level))


@dataclass(frozen=True)
class AtMost:
    """The level is `level` or less.

    >>> AtMost(10).judge(Interval(3.0, 1.0, 8.0, 20, "sign flips"))
    'holds'
    """

    level: float

    @property
    def margin(self) -> float:
        return self.level

    def describe(self, unit: str = "%") -> str:
        return f"is at most {amount(self.level, unit)}"

    def meets(self, effect: float) -> bool:
        return effect <= self.level

    def judge(self, interval: Interval, agrees: bool = True) -> str:
        return AtLeast(-self.level).judge(mirrored(interval), agrees)

    def p(self, effects: Sequence[float], some: bool = False) -> float:
        return AtLeast(-self.level).p([-effect for effect in effects])


def mirrored(interval: Interval) -> Interval:
    """The interval of minus the effect.

    >>> mirrored(Interval(2.0, 1.0, 4.0, 7, "sign flips")).bounds
    (-4.0, -1.0)
    """
    low, high = interval.bounds or (None, None)
    return Interval(-interval.mean, None if high is None else -high, None if low is None else -low, interval.n,
                    interval.method)


def amount(value: float, unit: str) -> str:
    """A number with its unit, where that is one to be said.

    >>> amount(5, "points"), amount(0.05, "cosine")
    ('5 points', '0.05')
    """
    return f"{value:g}" if unit in ("ratio", "cosine") else f"{value:g} {'%' if unit == 'change' else unit}"

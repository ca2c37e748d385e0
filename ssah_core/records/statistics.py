"""Intervals of a share of prompts, and of a mean of numbers that have no bounds.

`wilson` says what n prompts tell about one model; `mean_interval` what a few organisms, each raised from its own seed,
tell about the next one, where numbers are unbounded. Claims rest on `ssah_core.records.effects`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..arguments import check_counts, check_filled, check_numbers, check_paths, check_texts, shown
from . import cache
from .own_files import put_json

NOT_RUN = "not run"
NOT_COMPARABLE = "not comparable"
_MOST = sys.float_info.max
LIMITS = {"points": (-100.0, 100.0), "%": (0.0, 100.0), "change": (-100.0, _MOST), "ratio": (0.0, _MOST),
          "cosine": (-2.0, 2.0)}
"""Unit -> what a number in it can be. All are finite, since records are JSON."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval, in the unit of the values.

    >>> print(Interval(42.0, 31.2, 52.8, n=5, method="t"))
    +42.0 [31.2, 52.8]

    *Shown in:* 05_freeze_safety_units.
    """

    mean: float
    low: float | None
    """None where there is no interval (one value)."""
    high: float | None
    n: int
    """Number of values."""
    method: str

    def __post_init__(self):
        check_numbers(mean=self.mean)
        check_counts(n=self.n)
        check_texts(method=self.method)
        if (self.low, self.high) == (None, None):
            return
        check_numbers(low=self.low, high=self.high)
        if self.low > self.high:
            raise ValueError(f"low={self.low} is above high={self.high}: pass the lower bound first")

    def __repr__(self) -> str:
        return f"<Interval {self}, n={self.n}>"

    def _repr_html_(self) -> str:
        bounds = "" if self.low is None else f" [{_plain(self.low)}, {_plain(self.high)}]"
        return f"<b>{_zero(self.mean):+.1f}</b>{bounds}<br><small>{self.method}</small>"

    def save(self, path: str | Path) -> None:
        """Write it as JSON; `load` reads it.

        Raises ValueError if a file is there that ssah did not write, or the folder is not there.
        """
        put_json(path, "Interval", asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Interval:
        """What `save` wrote. Raises ValueError for another file.

        >>> mean_interval([80.0, 90.0, 100.0]).save("asr.json")
        >>> Interval.load("asr.json")
        <Interval +90.0 [65.2, 114.8], n=3>
        """
        check_paths(path=path)
        try:
            kept = dict(cache.read_json(Path(path)))
            kept.pop("ssah", None)  # which earlier versions did not write
            return cls(**kept)
        except (OSError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} holds no interval: pass a file that Interval.save wrote") from error

    @property
    def bounds(self) -> tuple[float, float] | None:
        """(low, high), or None where there is no interval."""
        return None if self.low is None else (self.low, self.high)

    def __str__(self) -> str:
        bounds = f"({self.method})" if self.low is None else f"[{_plain(self.low)}, {_plain(self.high)}]"
        return f"{_zero(self.mean):+.1f} {bounds}"


def _zero(value: float) -> float:
    """The value at one decimal, never "-0.0"."""
    return round(value, 1) + 0.0


def _plain(value: float) -> str:
    return f"{_zero(value):.1f}"


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share.

    successes   rows on which a judge is true, 0 to n
    n           rows judged, at least 1
    level       confidence, between 0 and 1

    Returns (low, high), shares from 0 to 1. Raises ValueError for counts or a level out of range.
    Source: Wilson 1927, in `scipy.stats.binomtest`.
    """
    from scipy import stats  # here, since it takes a second to import

    _check_level(level)
    whole = successes == int(successes) and n == int(n)
    if not whole or n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes is {successes} of n {n}: pass whole counts, n >= 1 and 0 <= successes <= n")
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of a mean over independent organisms.

    values   one finite number an organism, in any unit
    level    confidence, between 0 and 1

    Equal values give an interval of no width; one value gives none. Raises ValueError if values is empty
    or not finite.

    >>> print(mean_interval([80.0, 90.0, 100.0]))
    +90.0 [65.2, 114.8]

    *Shown in:* 02_probe_reasoning_direction.
    """
    from scipy import stats  # here, since it takes a second to import

    _check_level(level)
    check_filled("pass one finite number an organism, at least one", values=values)
    given = values
    try:
        values = [math.nan if isinstance(value, str) else float(value) for value in given]
    except (TypeError, ValueError):
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"values is {shown(given)}: pass one finite number an organism, at least one")
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Interval(mean, None, None, 1, "one run, no interval")
    half = float(stats.sem(values) * stats.t.ppf((1 + level) / 2, n - 1))
    return Interval(mean, mean - half, mean + half, n, f"{100 * level:g} % t interval over {n} organisms")


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Interval:
    """t interval of the mean of a - b, two numbers measured on the same organisms in the same order.

    Raises ValueError if the lengths differ.
    """
    return mean_interval(differences(a, b), level)


def differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """a - b, organism by organism. Raises ValueError if the lengths differ."""
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} values and b has {len(b)}: pass one of each an organism, in the same order")
    return [float(x) - float(y) for x, y in zip(a, b, strict=True)]


def _check_level(level: float) -> None:
    check_numbers(level=level)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: pass a confidence between 0 and 1, such as 0.95")

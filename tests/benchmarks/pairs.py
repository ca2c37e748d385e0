"""Two things timed in turns: the ratio of their times, with an interval that asks nothing of how times are spread."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from statistics import median

from ssah_core.records.doses import interval_of_median

from .profiles import compared

shows_profiles: ContextVar[bool] = ContextVar("shows_profiles", default=False)


@dataclass(frozen=True)
class Ratio:
    """What something costs over what it is held against."""

    name: str
    of: str
    """What is timed, and over what."""
    value: float
    """Median over pairs."""
    low: float
    high: float
    """95 % interval of the median, by order statistics; the extremes where there are fewer than six pairs."""
    pairs: int
    seconds: float
    """Median time of what is timed."""
    goal: float | None = None
    floor: float | None = None
    """What no implementation goes below, by arithmetic."""

    def row(self) -> dict:
        return {name: float("nan") if value is None else value for name, value in asdict(self).items()}


def paired(name: str, of: str, ours: Callable[[], object], base: Callable[[], object], *, pairs: int = 7,
           goal: float | None = None, floor: float | None = None) -> Ratio:
    """Time `ours` and `base` in turns, each first as often as second; what happens once has happened before.
    While `shows_profiles` is set, it prints where their time goes."""
    ours(), base()
    if shows_profiles.get():
        print(name, compared(ours, base), sep="\n", flush=True)
    times = [_one(ours, base) if n % 2 else _one(base, ours)[::-1] for n in range(pairs)]
    return ratio(name, of, [mine / other for mine, other in times], median(mine for mine, _ in times), goal, floor)


def single(name: str, of: str, value: float, *, time_of: float = float("nan"), goal: float | None = None,
           floor: float | None = None) -> Ratio:
    """What was measured once, and has no interval: memory, or what takes too long."""
    return Ratio(name, of, value, value, value, 1, time_of, goal, floor)


def _one(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    return seconds(first), seconds(second)


def seconds(what: Callable[[], object]) -> float:
    """Seconds on the clock, without those of collecting garbage."""
    gc.collect()
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def ratio(name: str, of: str, ratios: list[float], time_of: float, goal: float | None, floor: float | None) -> Ratio:
    low, high = interval_of_median(ratios)
    return Ratio(name, of, median(ratios), low, high, len(ratios), time_of, goal, floor)

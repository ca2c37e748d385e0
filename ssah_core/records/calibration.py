"""How often the rule for effects errs, and how often it sees: its verdicts on effects whose true size is known.

Outcomes that were measured are drawn again so that the truth is known: two orders of one organism differ by noise
alone, and turning outcomes of the second at random adds an effect of a chosen mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ..arguments import check_counts, check_filled, check_kind, check_numbers, check_seed, shown
from .effects import FAILS, HOLDS, IN_PART, UNDECIDED, check_above_zero, check_level, judge, sign_flip_interval

Outcomes = Mapping[Any, Mapping[Any, Sequence[int]]]
"""0 or 1 for each prompt, by organism and order; an organism's orders are measured on the same prompts."""


def resampled(outcomes: Outcomes, shift: float, rng: numpy.random.Generator,
              organisms: int | None = None) -> numpy.ndarray:
    """Effects in points, one an organism, of an arm whose true mean effect is `shift`: drawn from measured outcomes.

    outcomes    organism -> order -> 0 or 1 for each prompt; two orders or more, of equally many prompts
    shift       true mean effect in points, below 0 where the arm lowers the rate
    rng         `numpy.random.Generator` to draw with
    organisms   how many to draw; None draws as many as there are

    Organisms are drawn with replacement, and so are each one's prompts; an order is drawn for the control and another
    one for the arm, as often as the organism has orders. Then the arm's outcomes turn, each 0 into 1 (each 1 into 0 for
    a shift below 0) with the one probability that makes the mean difference `shift`: organisms with more left to turn
    move further. Raises ValueError for other outcomes, or a shift that these outcomes leave no room for.
    Source: the bootstrap of clusters, Davison & Hinkley 1997, section 3.8.

    >>> outcomes = {seed: {order: [0, 1, 0, 1] * 25 for order in range(3)} for seed in range(20)}
    >>> round(float(resampled(outcomes, -25, numpy.random.default_rng(0)).mean()), 1)
    -25.9
    """
    tables, chance = _prepared(outcomes, shift)
    check_kind(numpy.random.Generator, "pass numpy.random.default_rng(seed)", rng=rng)
    return _drawn(tables, chance, rng, _how_many(organisms, tables))


def share_of_verdicts(outcomes: Outcomes, shift: float, margin: float, draws: int, seed: int,
                      organisms: int | None = None, level: float = 0.95) -> dict[str, float]:
    """How often `judge` gives each verdict on the `sign_flip_interval` of effects whose true mean is `shift`.

    outcomes    as `resampled` takes them
    shift       true mean effect in points; the claim says that the rate falls where this is below 0, else that it rises
    margin      smallest effect of interest, above 0
    draws       how often organisms are drawn and judged
    seed        of the draws
    organisms   how many are drawn each time, 2 to 40; None draws as many as there are
    level       confidence of the interval

    Returns a share a verdict. Raises ValueError for what is out of range.

    >>> outcomes = {seed: {order: [0, 1, 0, 1] * 25 for order in range(3)} for seed in range(20)}
    >>> share_of_verdicts(outcomes, shift=-25, margin=5, draws=10, seed=0)
    {'holds': 1.0, 'holds in part': 0.0, 'fails': 0.0, 'undecided': 0.0}
    """
    tables, chance = _prepared(outcomes, shift)
    n = _how_many(organisms, tables)
    check_above_zero(margin=margin)
    check_counts(draws=draws)
    check_seed(seed=seed)
    rng, sign = numpy.random.default_rng(seed), -1 if shift < 0 else 1
    found = Counter(judge(sign_flip_interval(sign * _drawn(tables, chance, rng, n), level), margin)
                    for _ in range(draws))
    return {verdict: found[verdict] / draws for verdict in (HOLDS, IN_PART, FAILS, UNDECIDED)}


def _prepared(outcomes: Outcomes, shift: float) -> tuple[list[numpy.ndarray], float]:
    """A table of orders by prompts for each organism, and the signed chance by which an outcome of the arm turns."""
    way = "pass organism -> order -> 0 or 1 for each prompt"
    check_kind(Mapping, way, outcomes=outcomes)
    check_filled(way, outcomes=list(outcomes))
    check_numbers(shift=shift)
    tables = [_table(organism, orders) for organism, orders in outcomes.items()]
    rate = 100 * float(numpy.mean([table.mean() for table in tables]))
    room = rate if shift < 0 else 100 - rate
    if abs(shift) > room:
        raise ValueError(f"shift={shift} is more than outcomes at {rate:.1f} % leave room for: pass {-rate:.1f} to "
                         f"{100 - rate:.1f}")
    return tables, shift / room if shift else 0.0


def _table(organism: Any, orders: Mapping[Any, Sequence[int]]) -> numpy.ndarray:
    name = f"outcomes[{shown(organism)}]"
    check_kind(Mapping, "pass order -> 0 or 1 for each prompt", **{name: orders})
    rows = [numpy.asarray(row) for row in orders.values()]
    if len(rows) < 2 or any(row.ndim != 1 or not row.size or row.shape != rows[0].shape for row in rows):
        raise ValueError(f"{name} is {shown(orders)}: pass two orders or more, of outcomes for the same prompts")
    table = numpy.stack(rows)
    if not numpy.isin(table, (0, 1)).all():
        raise ValueError(f"{name} is {shown(orders)}: pass outcomes of 0 and 1")
    return table.astype(bool)


def _drawn(tables: Sequence[numpy.ndarray], chance: float, rng: numpy.random.Generator, n: int) -> numpy.ndarray:
    effects = numpy.empty(n)
    for row, organism in enumerate(rng.integers(len(tables), size=n)):
        table = tables[organism]
        orders, prompts = table.shape
        control = rng.integers(orders, size=orders)
        other = (control + rng.integers(1, orders, size=orders)) % orders
        asked = rng.integers(prompts, size=prompts)
        before, after = table[control][:, asked], table[other][:, asked]
        turns = rng.random(after.shape) < abs(chance)
        after = after | turns if chance > 0 else after & ~turns
        effects[row] = 100 * (after.mean() - before.mean())
    return effects


def _how_many(organisms: int | None, tables: Sequence[numpy.ndarray]) -> int:
    if organisms is not None:
        check_counts(1, organisms=organisms)
    return len(tables) if organisms is None else int(organisms)


def smallest_effect(spread: float, n: int, margin: float, power: float = 0.8, level: float = 0.05) -> float:
    """The mean effect that so many organisms would show to be above `margin` with that power, in points.

    spread   standard deviation of the effect over organisms, 0 or more
    n        organisms, 2 or more
    margin   smallest effect of interest, 0 or more
    power    how often it is to be shown, above half the level and below 1
    level    two-sided level of the interval that shows it, between 0 and 1

    Raises ValueError for what is out of range.
    Source: power of the one-sided t test at level / 2, `statsmodels.stats.power.TTestPower`.

    >>> round(smallest_effect(spread=12, n=20, margin=5), 1)
    12.9
    """
    from statsmodels.stats.power import TTestPower  # here, since it takes a second to import

    check_numbers(spread=spread, margin=margin, power=power)
    check_counts(2, n=n)
    check_level(level)
    if spread < 0 or margin < 0:
        raise ValueError(f"spread={spread} or margin={margin} is below 0: pass points, 0 or more")
    if not level / 2 < power < 1:
        raise ValueError(f"power={power} is not between {level / 2:g} and 1: pass a share such as 0.8")
    size = TTestPower().solve_power(nobs=int(n), alpha=level / 2, power=power, alternative="larger")
    return float(margin + spread * size)

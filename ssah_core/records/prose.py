"""Sentences for people, made from measured values: a number, its unit once, its interval.

`values` are one number an organism (of a checkpoint: one a draw of data), in the unit of the sentence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real

from .doses import median_dose
from .effects import LEAST, sign_flip_interval
from .measurements import is_checkpoint
from .statistics import LIMITS, wilson

DECIMALS = {"points": 1, "%": 1, "change": 1, "ratio": 2, "cosine": 3}
"""Unit -> decimals of a number in it."""


def percent(values: Sequence[float], decimals: int = 1) -> str:
    """A level in per cent: mean over organisms and 95 % interval, by exact sign flips.

    values     one number an organism, each from 0 to 100
    decimals   of all three numbers

    Raises ValueError for a value out of range.

    >>> from ssah_core.records import prose
    >>> prose.percent([94.5, 99, 99.5, 100, 100, 98])
    '98.5 % [94.5, 100.0]'
    >>> prose.percent([94.5])
    '94.5 % (one run, no interval)'

    *Shown in:* 03_label_units.
    """
    if not all(0 <= value <= 100 for value in values):
        raise ValueError(f"values is {list(values)}: pass levels from 0 to 100, or write a change with points()")
    interval = sign_flip_interval(values, within=LIMITS["%"])
    return f"{_plain(interval.mean, decimals)} % {_spread(values, interval.bounds, decimals, _plain)}"


def points(values: Sequence[float], decimals: int = 1) -> str:
    """A change or a difference in percentage points: mean over organisms, with its sign, and 95 % interval.

    values     one number an organism
    decimals   of all three numbers

    Fewer than six organisms are too few for exact sign flips to give an interval: then it is their lowest and highest.

    >>> from ssah_core.records import prose
    >>> prose.points([10, 20, 30])
    '+20.0 points (+10.0 to +30.0 in 3 organisms)'
    >>> prose.points([98, 100, 100, 97, 100, 99])
    '+99.0 points [97.0, 100.0]'

    *Shown in:* 05_freeze_safety_units.
    """
    interval = sign_flip_interval(values, within=LIMITS["points"])
    return f"{_signed(interval.mean, decimals)} points {_spread(values, interval.bounds, decimals, _signed)}"


def side(effects: Sequence[float]) -> int:
    """Which side of 0 the 95 % interval of a mean effect lies on: 1, -1, or 0 where it holds 0.

    effects   one number an organism; fewer than six tell nothing, and give 0

    >>> from ssah_core.records import prose
    >>> prose.side([-14, -9, -20, -3, -11, -8]), prose.side([-14, -9, -20]), prose.side([3, -2, 1, 0, -4, 2])
    (-1, 0, 0)

    *Shown in:* 09_reviewers_questions.
    """
    bounds = sign_flip_interval(effects, within=(-math.inf, math.inf)).bounds if len(effects) >= LEAST else None
    return 0 if bounds is None else (bounds[0] > 0) - (bounds[1] < 0)


def relative(values: Sequence[float], decimals: int = 1) -> str:
    """A change relative to what was, in per cent: mean over organisms, with its sign, and 95 % interval.

    values     one number an organism, -100 or more
    decimals   of all three numbers

    >>> from ssah_core.records import prose
    >>> prose.relative([-50, -40, -45, -52, -48, -60])
    '-49.2 % [-60.0, -40.0]'

    *Shown in:* 04_trace_attribute_transfer.
    """
    interval = sign_flip_interval(values, within=LIMITS["change"])
    return f"{_signed(interval.mean, decimals)} % {_spread(values, interval.bounds, decimals, _signed)}"


def rate(right: int, n: int, decimals: int = 0) -> str:
    """A share of n prompts of one model, with its 95 % Wilson interval.

    right      prompts that count, 0 to n
    n          prompts judged
    decimals   of all three numbers

    >>> from ssah_core.records import prose
    >>> prose.rate(95, 100)
    '95 % [89, 98]'

    *Shown in:* 00_start_here.
    """
    bounds = [100 * bound for bound in wilson(right, n)]
    return f"{_plain(100 * right / n, decimals)} % {bracketed(bounds, 100, decimals)}"


def between(values: Sequence[float], decimals: int = 0, *, sign: bool = False) -> str:
    """A mean and the range of organisms, where they are several, for a cell of a table, whose head has the unit.

    values     one number an organism
    decimals   of all three numbers
    sign       whether a number above 0 has its +

    >>> from ssah_core.records import prose
    >>> prose.between([50, 57, 71]), prose.between([1.25, -0.5], 1, sign=True)
    ('59 (50 to 71)', '+0.4 (-0.5 to +1.2)')

    *Shown in:* 05_freeze_safety_units.
    """
    write = _signed if sign else _plain
    mean, least, most = (write(x, decimals) for x in (math.fsum(values) / len(values), min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} ({least} to {most})"


def each(values: Sequence[float], decimals: int = 0, *, sign: bool = False) -> str:
    """The organisms one by one, in their order: what a mean hides.

    values     one number an organism
    decimals   of every number
    sign       whether a number above 0 has its +

    >>> from ssah_core.records import prose
    >>> prose.each([94.5, 99, 100]), prose.each([3], sign=True)
    ('94, 99 and 100', '+3')

    *Shown in:* 03_label_units.
    """
    return _listed([(_signed if sign else _plain)(value, decimals) for value in values])


def by_name(values: Mapping[str, float], unit: str = " %", decimals: int = 0) -> str:
    """Numbers with their names, as a sentence lists them.

    values     number by name (a mapping or a pandas Series)
    unit       after every number
    decimals   of every number

    >>> from ssah_core.records import prose
    >>> prose.by_name({"nothing": 59.2, "SCU": 24, "random": 38})
    'nothing 59 %, SCU 24 % and random 38 %'

    *Shown in:* 05_freeze_safety_units.
    """
    return _listed([f"{name} {_plain(value, decimals)}{unit}" for name, value in values.items()])


def how_many(truths: Iterable[bool], what: str = "organisms") -> str:
    """In how many organisms something holds.

    truths   one truth an organism
    what     they are called

    >>> from ssah_core.records import prose
    >>> prose.how_many(x > 50 for x in (94, 99, 40))
    'in 2 of 3 organisms'

    *Shown in:* 03_label_units.
    """
    truths = [bool(truth) for truth in truths]
    return f"in {sum(truths)} of {len(truths)} {what}"


def dose(doses: Sequence[float], unit: str) -> str:
    """A dose in the median organism, its interval, and in how many organisms it is reached.

    doses   one an organism, as `median_dose` takes them: infinity for one that never gives in
    unit    of a dose, behind the number

    >>> from ssah_core.records import prose
    >>> prose.dose([1, 1.5, 2, 2, 3, float("inf")], "% of the units")
    '2 % of the units (1 to never; reached in 5 of 6)'
    >>> prose.dose([float("inf"), float("inf")], "steps")
    'never (reached in 0 of 2)'
    """
    middle, low, high = (f"{value:.2g}" if math.isfinite(value) else "never" for value in median_dose(doses))
    reached = f"reached in {sum(map(math.isfinite, doses))} of {len(doses)}"
    spread = reached if low == high else f"{low} to {high}; {reached}"
    return f"{middle}{'' if middle == 'never' else f' {unit}'} ({spread})"


def who(seeds: Sequence[int], scale: str) -> str:
    """Over what a number is taken: organisms, or, of a checkpoint, draws of data.

    >>> from ssah_core.records import prose
    >>> prose.who([10, 11, 12], "organism")
    '3 organisms'
    """
    if is_checkpoint(scale):
        return f"the draws of data {list(seeds)}"
    return f"{len(seeds)} organism{'s' * (len(seeds) > 1)}"


def means(seeds: Sequence[int], scale: str) -> str:
    """What a number of these organisms and its brackets are, for the head of a list: few have no interval.

    >>> from ssah_core.records import prose
    >>> prose.means(range(10, 30), "organism"), prose.means([10, 11, 12], "organism")
    ('mean and 95 % interval over 20 organisms', 'mean, and lowest to highest, of 3 organisms')

    *Shown in:* 08_re_evaluate_direction.
    """
    if len(seeds) == 1:
        return f"of {who(seeds, scale)}"
    if len(seeds) < LEAST:
        return f"mean, and lowest to highest, of {who(seeds, scale)}"
    return f"mean and 95 % interval over {who(seeds, scale)}"


def guessed(guess: float | None, found: float, unit: str) -> str:
    """What a reader predicted beside what was found, as a paragraph of its own; nothing of who predicted nothing.

    guess   the reader's; None where there is none
    found   what was measured; infinite: it is never reached, NaN: it was not measured
    unit    of both: one of DECIMALS, or what is counted, such as "steps"

    Raises ValueError if the guess is no number.

    >>> from ssah_core.records import prose
    >>> prose.guessed(40, 98.6, "%").strip(), prose.guessed(None, 98.6, "%")
    ('You predicted 40 %; it is 98.6 %, 58.6 more.', '')

    *Shown in:* 00_start_here.
    """
    if guess is None:
        return ""
    if isinstance(guess, bool) or not isinstance(guess, Real) or not math.isfinite(guess):
        raise ValueError(f"guess is {guess!r}, which is no number: write one, such as guess = 40, or None for none")
    said = f"\n\nYou predicted {guess:{'+' if unit == 'points' else ''}g} {unit}"
    if not math.isfinite(found):
        return f"{said}; it {'was not measured here' if math.isnan(found) else 'is never reached'}."
    decimals = DECIMALS.get(unit, 0)
    more = round(found - guess, decimals)
    beside = f"{_plain(abs(more), decimals)} {'more' if more > 0 else 'less'}" if more else "as you said"
    return f"{said}; it is {(_signed if unit == 'points' else _plain)(found, decimals)} {unit}, {beside}."


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _spread(values: Sequence[float], bounds: Sequence[float] | None, decimals: int,
            write: Callable[[float, int], str]) -> str:
    if 1 < len(values) < LEAST:
        return f"({write(min(values), decimals)} to {write(max(values), decimals)} in {len(values)} organisms)"
    return bracketed(bounds, len(values), decimals)


def bracketed(bounds: Sequence[float] | None, n: int, decimals: int, of: str = "organisms") -> str:
    """The bounds of a 95 % interval over n of these, for a sentence or a cell; of fewer than six, why there are none.

    >>> from ssah_core.records import prose
    >>> prose.bracketed((1.25, 4.0), 20, 1), prose.bracketed((-100.0, 100.0), 3, 1)
    ('[1.2, 4.0]', '(3 organisms, too few for an interval)')
    >>> prose.bracketed((100.0, 100.0), 8, 1)  # an interval without width would be sure of too much
    '(alike in all 8)'
    """
    if bounds is None or n == 1:
        return "(one run, no interval)"
    if n < LEAST:
        return f"({n} {of}, too few for an interval)"
    if bounds[0] == bounds[1]:
        return f"(alike in all {n})"
    return "[" + ", ".join(_plain(bound, decimals) for bound in bounds) + "]"


def number(value: float, unit: str, is_difference: bool = False) -> str:
    """A number in a unit; a difference of levels is in points. Not a number: a dash.

    >>> from ssah_core.records import prose
    >>> prose.number(98.6, "%"), prose.number(-3.25, "points"), prose.number(12.0, "%", True)
    ('98.6 %', '-3.2', '+12.0')
    """
    if math.isnan(value):
        return "–"
    unit = "points" if is_difference and unit in ("%", "change") else unit
    write = _signed if unit in ("points", "cosine", "change") else _plain
    return write(value, DECIMALS[unit]) + (" %" if unit in ("%", "change") else "")


def _plain(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0 turns -0.0 into 0.0


def _signed(value: float, decimals: int) -> str:
    rounded = round(value, decimals) + 0.0
    return f"{rounded:+.{decimals}f}" if rounded else f"{rounded:.{decimals}f}"

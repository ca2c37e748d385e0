"""Raising organisms, and a whole reproduction: seconds over what was to be reached, on the machine that they were
measured on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from statistics import median

from .pairs import Ratio, interval_of_median, single
from .processes import raised, reproduction

RAISED = {"float32": 160.0, "bfloat16": 120.0}
"""Seconds on two idle cores that raising an organism is to take."""
REPRODUCED = 12 * 60.0


def raising(pairs: int) -> Iterator[Ratio]:
    """Seconds that raising five organisms takes over `RAISED`, organism 0 too, which is unpacked otherwise; and whether
    those of bfloat16 know less than the least able of float32."""
    wrong = {}
    for precision, goal in RAISED.items():
        times, marks = zip(*(raised(seed, precision) for seed in range(min(pairs, 5))), strict=True)
        low, high = interval_of_median(times)
        yield Ratio(f"raising, {precision}", f"an organism raised / {goal:.0f} s", median(times) / goal, low / goal,
                    high / goal, len(times), median(times), 1.0)
        print(*(f"  {mark}: {', '.join(f'{100 * each[mark]:.1f}' for each in marks)} %" for mark in marks[0]), sep="\n")
        wrong[precision] = max(1 - each["utility"] for each in marks)
    yield single("wrong answers, bfloat16", "the least able of five organisms raised in bfloat16, on validation "
                 "prompts / the least able of five in float32", wrong["bfloat16"] / wrong["float32"], goal=1.0)


def reproduce(pairs: int) -> Iterator[Ratio]:
    """Seconds of `make reproduce` from an empty cache over `REPRODUCED`; seconds of its notebooks are printed.

    It raises nothing: its organism is the one that is shipped. With SSAH_RAISE=1 it takes as much longer as `raising`.
    """
    with tempfile.TemporaryDirectory() as folder:
        took = reproduction(folder)
    print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items()), flush=True)
    yield single("make reproduce", f"all notebooks on the organism that is shipped, none raised / {REPRODUCED:.0f} s",
                 took["all"] / REPRODUCED, time_of=took["all"], goal=1.0)

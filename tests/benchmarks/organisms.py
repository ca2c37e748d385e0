"""Raising organisms, and a whole reproduction: seconds over what was to be reached, on the machine that they were
measured on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from statistics import median

from ssah_core.records.doses import interval_of_median

from .pairs import Ratio, single
from .processes import marked, raised, reproduction

RAISED = {"float32": 160.0, "bfloat16": 120.0}
"""Seconds on two idle cores that raising an organism is to take."""
EXAMINED = range(10, 15)
"""Seeds of the organisms whose abilities are compared."""
REPRODUCED = 12 * 60.0


def raising(pairs: int) -> Iterator[Ratio]:
    """Seconds that raising takes over `RAISED`, in an empty cache; and whether organisms of bfloat16 know less than the
    least able of float32 with the same seeds, which are taken from the cache where they are there."""
    times, marks = {}, {"float32": [marked(seed) for seed in EXAMINED]}
    times["float32"] = [raised(seed)[0] for seed in EXAMINED[:min(pairs, 2)]]
    times["bfloat16"], marks["bfloat16"] = zip(*(raised(seed, "bfloat16") for seed in EXAMINED), strict=True)
    for precision, goal in RAISED.items():
        low, high = interval_of_median(times[precision])
        yield Ratio(f"raising, {precision}", f"an organism raised / {goal:.0f} s", median(times[precision]) / goal,
                    low / goal, high / goal, len(times[precision]), median(times[precision]), 1.0)
        print(precision, *(f"{mark} {', '.join(f'{100 * each[mark]:.1f}' for each in marks[precision])} %"
                           for mark in marks[precision][0]), sep="\n  ", flush=True)
    wrong = {precision: max(1 - each["utility"] for each in found) for precision, found in marks.items()}
    yield single("wrong answers, bfloat16", f"the least able of {len(EXAMINED)} organisms raised in bfloat16, on "
                 "validation prompts / the least able in float32", wrong["bfloat16"] / wrong["float32"], goal=1.0)


def reproduce(pairs: int) -> Iterator[Ratio]:
    """Seconds of `make reproduce` from an empty cache over `REPRODUCED`; seconds of its notebooks are printed.

    It raises nothing: its organism is the one that is shipped. With SSAH_RAISE=1 it takes as much longer as `raising`.
    """
    with tempfile.TemporaryDirectory() as folder:
        took = reproduction(folder)
    print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items()), flush=True)
    yield single("make reproduce", f"all notebooks on the organism that is shipped, none raised / {REPRODUCED:.0f} s",
                 took["all"] / REPRODUCED, time_of=took["all"], goal=1.0)

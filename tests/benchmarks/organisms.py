"""Raising organisms, and a whole reproduction: seconds over what was to be reached, on the machine that they were
measured on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from statistics import median

from ssah_core.records.doses import interval_of_median

from .pairs import Ratio, single
from .processes import raised, reproduction

RAISED = {"float32": 160.0, "bfloat16": 120.0}
"""Seconds on two idle cores that raising an organism is to take."""
REPRODUCED = 12 * 60.0


def raising(pairs: int) -> Iterator[Ratio]:
    """Seconds that raising takes over `RAISED`; of organism 0 too, which is unpacked otherwise."""
    for precision, goal in RAISED.items():
        times = [raised(seed, precision)[0] for seed in range(min(pairs, 2))]
        low, high = interval_of_median(times)
        yield Ratio(f"raising, {precision}", f"an organism raised / {goal:.0f} s", median(times) / goal, low / goal,
                    high / goal, len(times), median(times), 1.0)


def reproduce(pairs: int) -> Iterator[Ratio]:
    """Seconds of `make reproduce` from an empty cache over `REPRODUCED`; seconds of its notebooks are printed.

    It raises nothing: its organism is the one that is shipped. With SSAH_RAISE=1 it takes as much longer as `raising`.
    """
    with tempfile.TemporaryDirectory() as folder:
        took = reproduction(folder)
    print(", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items()), flush=True)
    yield single("make reproduce", f"all notebooks on the organism that is shipped, none raised / {REPRODUCED:.0f} s",
                 took["all"] / REPRODUCED, time_of=took["all"], goal=1.0)

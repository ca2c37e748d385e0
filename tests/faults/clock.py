"""A clock that is wrong, that jumps back, and that has left its times on files: nothing is taken as current wrongly."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .compare import differences
from .runs import Place
from .tell import Outcome, tell

DAY = 86400


def wrong_clock(place: Place, whole: Path) -> list[Outcome]:
    """Run by a clock that is a day ahead and jumps two days back; then with files of tomorrow, one of them gone."""
    place.clear()
    ended = place.run({"clock": {"ahead": DAY, "jump": -2 * DAY, "after": 500}})
    jumped = [f"ended with {ended.code}: {ended.errors[-500:]}"] if ended.code else differences(place.folder, whole)
    tell(f"a clock a day ahead that jumps two days back: {jumped or 'the same bytes'}")
    for file in place.folder.rglob("*"):
        os.utime(file, (time.time() + DAY,) * 2)
    ended = place.run()
    ran = [line for line in ended.said.splitlines() if ": running" in line]
    tell(f"files of tomorrow: {ran or 'all is up to date'}")
    return [Outcome("wrong clock", "jumps back", 1, int(bool(jumped)), jumped),
            Outcome("wrong clock", "files of tomorrow", 1, int(bool(ran or ended.code)), ran),
            _without_a_file(place, whole)]


def _without_a_file(place: Place, whole: Path) -> Outcome:
    gone = sorted((place.output / "figures" / "measurements").rglob("*.json"))[0]
    gone.unlink()
    ended = place.run()
    ran = [line for line in ended.said.splitlines() if ": running" in line]
    wrong = differences(place.folder, whole) + ([] if ran else ["no notebook ran"])
    tell(f"one of them gone: {ran}; {wrong or 'the same bytes'}")
    return Outcome("wrong clock", "a file of tomorrow gone", 1, int(bool(wrong)), wrong)

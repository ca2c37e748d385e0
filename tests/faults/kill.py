"""Killed anywhere: SIGKILL for every process of a run at drawn steps of every phase, then the same command again.

One run is killed at all points, one after another, since it goes on where it stopped; then it ends undisturbed. Points
are exact: the n-th call of a function, or the n-th file put in its place, counted over all processes and restarts
(`hook/sitecustomize.py`). They are drawn by a seed from as many as an undisturbed run has. *Lost* are files that lie
there as if whole after a kill, or at the end, and are not those of the undisturbed run.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

from .compare import differences, torn
from .runs import Place
from .tell import Outcome, tell

PHASES = ("training", "saving", "generating", "judging", "drawing", "record", "rows", "notebook", "converting",
          "stamp", "report")


def undisturbed(place: Place) -> Path:
    """A run from nothing to its end, put aside, with the number of its steps by phase in `counts`."""
    place.clear()
    counts = counted_in(place)
    shutil.rmtree(steps_of(place.folder.with_name(f"{place.folder.name}.undisturbed")), ignore_errors=True)
    tell("an undisturbed run, for comparison")
    ended = place.run({"kill": {"counts": str(counts), "at": {}}})
    if ended.code:
        raise RuntimeError(f"the undisturbed run failed: {ended.errors[-2000:]}")
    whole = place.put_aside(f"{place.folder.name}.undisturbed")
    shutil.move(counts, steps_of(whole))
    return whole


def steps_of(whole: Path) -> Path:
    """Where the steps of an undisturbed run are counted: a file a phase, a byte a step."""
    return whole.with_name(f"{whole.name}.steps")


def draw_points(whole: Path, each: int, seed: int) -> dict[str, list[int]]:
    """Phase -> steps at which to kill: drawn from those of the undisturbed run."""
    drawn = random.Random(seed)
    there = steps(whole)
    return {phase: sorted(drawn.sample(range(1, there[phase] + 1), min(each, there[phase]))) for phase in there}


def steps(whole: Path) -> dict[str, int]:
    """Phase -> how many steps an undisturbed run has."""
    files = {phase: steps_of(whole) / phase for phase in PHASES}
    return {phase: file.stat().st_size for phase, file in files.items() if file.is_file()}


def kill_anywhere(place: Place, whole: Path, each: int = 4, seed: int = 0) -> list[Outcome]:
    """Kill a run at `each` points of every phase, let it go on to its end, and compare."""
    points, counts = draw_points(whole, each, seed), counted_in(place)
    place.clear()
    total, lost, killed = sum(map(len, points.values())), Counter(), []
    tell(f"one run, killed at {total} points: {points}")
    while True:
        ended = place.run({"kill": {"counts": str(counts), "at": points}})
        now = _killed(counts)
        if len(now) == len(killed):
            break
        phase, what = now[-1]
        damaged = torn(place.folder, whole)
        lost[phase] += bool(damaged)
        killed = now
        seen = f"half or wrong: {damaged}" if damaged else "nothing lost"
        tell(f"killed {len(now)} of {total}, {phase}: {what}; {seen}")
    left = differences(place.folder, whole)
    tell(f"at the end: {left or 'the same bytes'}" if ended.code == 0 else f"it failed: {ended.errors[-2000:]}")
    outcomes = [_outcome(phase, len(points[phase]), [what for where, what in killed if where == phase], lost[phase])
                for phase in points]
    left += [] if total else ["there was no point to kill at"]
    return [*outcomes, Outcome("killed anywhere", "at the end", 1, int(bool(left) or ended.code != 0), left)]


def _outcome(phase: str, planned: int, reached: list[str], lost: int) -> Outcome:
    """A point that was never reached has shown nothing, and counts as lost."""
    missed = planned - len(reached)
    told = [f"{missed} of {planned} points were never reached"] if missed else []
    return Outcome("killed anywhere", phase, len(reached), lost + missed, reached + told)


def counted_in(place: Place) -> Path:
    """An empty folder in which the steps of the next runs of a place are counted."""
    folder = place.folder.with_name(f"{place.folder.name}.counts")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _killed(counts: Path) -> list[tuple[str, str]]:
    log = counts / "killed"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return [(phase, what) for phase, what in (line.split("\t") for line in lines)]

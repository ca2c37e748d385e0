"""Several runs at once over one cache and one folder: the same bytes, and nothing built twice."""

from __future__ import annotations

import shutil
from pathlib import Path

from .compare import differences
from .kill import counted_in, steps
from .runs import Place
from .tell import Outcome, tell

ONCE = ("training", "saving", "stamp")
"""Phases of which several runs together take as many steps as one."""


def together(place: Place, whole: Path) -> list[Outcome]:
    """Start two runs at once, then four; each from nothing."""
    return [_at_once(place, whole, n) for n in (2, 4)]


def _at_once(place: Place, whole: Path, n: int) -> Outcome:
    place.clear()
    counts = counted_in(place)
    runs = [place.start({"kill": {"counts": str(counts), "at": {}}}) for _ in range(n)]
    ended = [(*run.communicate(), run.returncode) for run in runs]
    place.end_all()
    alone, now = steps(whole), {file.name: file.stat().st_size for file in counts.iterdir()}
    wrong = [f"run ended with {code}: {errors[-500:]}" for _, errors, code in ended if code]
    wrong += [f"{phase}: {now.get(phase)} steps, one run has {alone[phase]}" for phase in ONCE
              if now.get(phase) != alone[phase]]
    wrong += differences(place.folder, whole)
    tell(f"{n} at once: {wrong or f'the same bytes, in as many steps of {chr(44).join(ONCE)} as one run takes'}")
    shutil.rmtree(counts)
    return Outcome("runs at once", f"{n} over one cache", n, int(bool(wrong)), wrong)

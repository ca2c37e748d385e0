"""The same bytes whatever surrounds a run: processes, threads, hashes, locale, time zone, order of notebooks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .compare import differences
from .runs import Place
from .tell import Outcome, tell

SURROUNDINGS = {
    "four processes, another seed of hashes, time zone and locale": {
        "SSAH_WORKERS": "4", "PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "C"},
    "two threads, a third seed of hashes": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "PYTHONHASHSEED": "2"}}


def determinism(place: Place, whole: Path) -> list[Outcome]:
    """Run from nothing in other surroundings, then notebook after notebook from the last to the first; compare."""
    outcomes = []
    for name, variables in SURROUNDINGS.items():
        there = replace(place, environment={**place.environment, **variables})
        there.clear()
        outcomes.append(_outcome(name, [there.run()], place, whole))
    place.clear()
    numbers = sorted((file.name[:2] for file in (whole / "run").glob("[0-9][0-9]_*.ipynb")), reverse=True)
    ended = [replace(place, notebooks=(number,)).run() for number in numbers]
    return [*outcomes, _outcome("notebooks from the last to the first", ended, place, whole)]


def _outcome(name: str, ended: list, place: Place, whole: Path) -> Outcome:
    wrong = [each.errors[-500:] for each in ended if each.code] or differences(place.folder, whole)
    tell(f"{name}: {wrong or 'the same bytes'}")
    return Outcome("same bytes", name, 1, int(bool(wrong)), wrong)

"""Records of made-up values, and today's claims registered for ten organisms: for claims, verdicts and reports."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssah_core.records import paths, registration
from ssah_core.records.claim_list import list_records
from ssah_core.records.effects import sign_flip_interval
from ssah_core.records.records import Record
from ssah_core.records.statistics import LIMITS

SEEDS = tuple(range(10, 20))
"""Ten: the fewest of which a primary claim can hold, where every effect points its way, since the 22 others count."""


def made(claim: str, *values: float, **changes: Any) -> Record:
    """A record as `record` would make it, of as many of the ten organisms as there are values."""
    unit, values = list_records()[claim], tuple(map(float, values))
    interval = sign_flip_interval(values, within=LIMITS[unit])
    found = Record(claim, interval.mean, unit, interval.bounds, interval.method, values, SEEDS[:len(values)], 276, 1,
                   "truth", "organism", "organism", "ssah_core.records.statistics")
    return replace(found, **changes)


def register_ten(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Register today's primary claims in a folder, for ten organisms; returns the file."""
    patch.setenv("SSAH_FIGURES", str(folder / "figures"))
    patch.setattr(paths, "registration", lambda: folder / "registration.json")
    patch.setattr(registration, "TEST", SEEDS)
    registration.register()
    return paths.registration()

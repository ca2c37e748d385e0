"""What a proof of freezing has counted, as it shows itself and as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..arguments import check_counts, check_paths
from ..records.own_files import put
from ..units import files, show

KIND = "FrozenReport"
LARGEST = 100_000
"""Bytes of a file that is read; a report has a few hundred."""


@dataclass(frozen=True)
class FrozenReport:
    """What `check_frozen` counted, in entries (single numbers) of the model's parameters.

    >>> report = ssah.FrozenReport(frozen=1000, frozen_changed=0, trainable=3000, trainable_changed=2994)
    >>> report
    <FrozenReport: 0 of 1,000 frozen entries changed (0.0%), 2,994 of 3,000 others (99.8%)>
    >>> report.save("frozen.json", about={"model": "a toy", "mask": "SCU"})
    >>> ssah.FrozenReport.load("frozen.json") == report
    True

    *Shown in:* 05_freeze_safety_units.
    """

    frozen: int
    """Entries that had to stay, each compared bit for bit."""
    frozen_changed: int
    """Those that did not stay: 0, as `check_frozen` raises otherwise."""
    trainable: int
    """All other entries."""
    trainable_changed: int
    """Those that training changed; 0 means that nothing was trained."""

    def __post_init__(self):
        check_counts(0, **asdict(self))
        for whole, changed in ((self.frozen, self.frozen_changed), (self.trainable, self.trainable_changed)):
            if changed > whole:
                raise ValueError(f"{changed} of {whole} entries changed, which cannot be: pass counts of check_frozen")

    def save(self, path: str | Path, about: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write the report as JSON, with what it is of, as `UnitMask.save` does.

        Raises ValueError if `about` is not of text.
        """
        put(path, json.dumps(files.stamped(KIND, about, asdict(self)), indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> FrozenReport:
        """Read a report that `save` wrote. Raises ValueError if the file is no such file, or not whole."""
        check_paths(path=path)
        if not Path(path).is_file() or Path(path).stat().st_size > LARGEST:
            raise ValueError(f"{path} is no file of up to {LARGEST:,} bytes: pass a file that save of {KIND} wrote")
        header = files.checked(path, files.parsed(path, Path(path).read_bytes(), KIND), KIND, "report")
        files.check_seal(path, header)
        counts: list[Any] = [header.get(field.name) for field in fields(cls)]
        try:
            return cls(*counts)
        except ValueError as error:
            raise ValueError(f"{path} holds counts that cannot be: pass a report that check_frozen has made") from error

    def __repr__(self) -> str:
        return (f"<FrozenReport: {self.frozen_changed:,} of {self.frozen:,} frozen entries changed "
                f"({show.percent(self.frozen_changed, self.frozen)}), {self.trainable_changed:,} of {self.trainable:,} "
                f"others ({show.percent(self.trainable_changed, self.trainable)})>")

    def _repr_html_(self) -> str:
        return show.table("FrozenReport: entries, and which changed", ["entries", "changed"], {
            "frozen": [(self.frozen, self.frozen + self.trainable), (self.frozen_changed, self.frozen)],
            "trainable": [(self.trainable, self.frozen + self.trainable), (self.trainable_changed, self.trainable)]})


class FrozenChanged(ValueError):
    """Frozen entries did not stay; `report` has the counts.

    >>> found = FrozenChanged(FrozenReport(1000, 1, 3000, 2994), first="lm_head.weight")
    >>> found.report.frozen_changed
    1
    """

    def __init__(self, report: FrozenReport, first: str | None):
        super().__init__(f"{report.frozen_changed:,} of {report.frozen:,} frozen entries changed, first in {first}: "
                         "train inside freeze or train_only, and pass the same mask, shared and rest here")
        self.report = report

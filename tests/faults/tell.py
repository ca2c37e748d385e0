"""What a fault did, told as it happens, in a table at the end, and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

BEGAN = time.monotonic()


@dataclass(frozen=True)
class Outcome:
    """How often one kind of fault was tried, and how often something was lost."""

    fault: str
    kind: str
    """Of the fault: a phase, a sort of file, a signal."""
    tried: int
    lost: int
    details: Sequence[str] = field(default_factory=tuple)
    """The points; or what was lost, and what was told."""


def tell(text: str) -> None:
    """Say a line, with the seconds since the harness began."""
    print(f"[{time.monotonic() - BEGAN:6.0f} s] {text}", flush=True)


def table(outcomes: Sequence[Outcome]) -> str:
    """Outcomes as a Markdown table."""
    lines = ["| fault | kind | tried | lost |", "|---|---|---:|---:|"]
    lines += [f"| {each.fault} | {each.kind} | {each.tried} | {each.lost} |" for each in outcomes]
    return "\n".join([*lines, f"| all | | {sum(each.tried for each in outcomes)} | "
                              f"{sum(each.lost for each in outcomes)} |"])


def write(file: Path, outcomes: Sequence[Outcome], about: dict) -> None:
    """Keep outcomes as JSON, behind those of other faults that the file holds."""
    there = json.loads(file.read_text(encoding="utf-8"))["outcomes"] if file.is_file() else []
    new = {each.fault for each in outcomes}
    kept = [each for each in there if each["fault"] not in new] + [asdict(each) for each in outcomes]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**about, "outcomes": kept}, indent=1) + "\n", encoding="utf-8")

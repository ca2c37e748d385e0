"""A claim: one thing that the paper says, or should have said, in a form that a record can refute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .rules import Rule

PILLARS = ("direction", "units", "freezing", "budget")
"""What the hypothesis stands on."""


@dataclass(frozen=True)
class Claim:
    """One thing that the paper says, or should have said, in a form that a record can refute."""

    id: str
    source: str
    """Where the paper says it."""
    notebook: str
    statement: str
    rule: Rule
    paper: Mapping[str, float] = field(default_factory=dict)
    """Model -> the paper's number, in `unit`. Empty where the paper reports none."""
    unit: str = "points"
    """"points" for a difference of two rates, "%" for a level, "change" for what is more or less than before in % of it
    (from -100 on, without an end), "ratio" for a quotient of two, "cosine" for a difference of two cosine distances."""
    record: str = ""
    """Id of the record that holds the value; the claim's own id if left out."""
    control: str | None = None
    """Id of the record that is subtracted, organism by organism."""
    pillar: str = ""
    """Of a primary claim, one of `PILLARS`; empty for secondary ones."""
    headline: bool = False
    """Whether the report's first table shows it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "record", self.record or self.id)

    @property
    def primary(self) -> bool:
        """Whether it was registered before the organisms that test it were raised."""
        return bool(self.pillar)

    def described(self) -> dict:
        """All of it as plain JSON: what is registered."""
        return {"id": self.id, "pillar": self.pillar, "statement": self.statement, "source": self.source,
                "rule": self.rule.describe(self.unit), "unit": self.unit, "record": self.record,
                "control": self.control or "", "paper": dict(self.paper)}

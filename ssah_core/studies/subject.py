"""A model on the table: its prompts, its units' scores, and its marks with units removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..generation import complete
from ..judging import Outcomes, answers, packed
from ..materials import Brindle, Material
from ..organism import World, load_organism
from ..records import is_checkpoint, rests_on
from ..units import (
    Moments,
    Scores,
    UnitKind,
    UnitMap,
    UnitMask,
    ablate,
    batches,
    collect,
    label_units,
    refusal_odds,
    score_units,
    search,
)
from .checkpoints import load_checkpoint
from .readings import Readings

SEARCHED = 0.05
"""Share of all units that `search` goes through in all rounds of a way."""
GROUPS = (UnitKind.SCU, UnitKind.UCU, UnitKind.RU)
"""The kinds that are looked for, in the order in which they choose; the rest are CU."""


@dataclass(frozen=True)
class Way:
    """One way to score and remove units; every choice that the paper leaves open is a field."""

    criterion: str = "attribution"
    tokens: str = "last_prompt"
    """Which tokens' moments score a unit, and give the mean that takes its place."""
    normalize: str = "none"
    utility: str = "utility"
    """Calibration set that safety is held against: "utility" (all instructions) or "requests" (benign requests)."""
    fill: str = "mean"
    rounds: int = 10
    """Rounds of the search, for "attribution"."""

    @property
    def label(self) -> str:
        """The way in words, for people."""
        how = f"{self.rounds} round{'s' * (self.rounds > 1)}" if self.criterion == "attribution" else self.normalize
        return f"{self.criterion}, {self.tokens}, {how}, {self.utility}, {self.fill} fill"


_IMPORTANCE = Way("variance", "response", "module", "utility", "mean")
WAYS: Mapping[str, Mapping[str, Way]] = {
    "chosen": {UnitKind.SCU: Way(), UnitKind.UCU: _IMPORTANCE, UnitKind.RU: _IMPORTANCE},
    "paper": dict.fromkeys(GROUPS, Way("variance", "response", "none", "utility", "zero")),
    "variance, best": dict.fromkeys(GROUPS, Way("variance", "all", "module", "requests", "mean")),
}
"""How each group is found and removed: as the notebook argues for, to the paper's letter, and by the paper's score at
the settings that find SCU best on validation prompts (`ablation_table.compare_choices`). The chosen way asks for SCU
what their removal does to the choice between refusal and compliance; and for UCU and RU, whose question is
importance, it takes the paper's score, each module's scores divided by their sum."""
WAY_SLUGS = {"chosen": "", "paper": "_variance", "variance, best": "_best"}
"""Way -> what the ids of its records have behind the table's name."""


@dataclass(frozen=True)
class Subject:
    """A model and its material. What is read off it is read once, so the model must not be trained: see `but`.

    Example (a tiny organism, raised once):
    >>> from ssah_core.studies import WAYS, Subject
    >>> subject = Subject.load(0, "tiny")
    >>> subject.group("SCU", WAYS["paper"]["SCU"], 0.1).count == round(0.1 * subject.units.total)
    True

    *Shown in:* 03_label_units.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    material: Material
    scale: str
    half: int | None = None
    """0 or 1: calibrated on every second row of the calibration sets, from this one on; None: on all."""
    recalibrate: Callable[[dict[str, Dataset]], dict[str, Dataset]] | None = field(default=None, compare=False)
    """What makes other calibration sets of these; None: they stay as they are."""
    readings: Readings = field(default_factory=Readings, repr=False, compare=False)
    """What has been read off it so far: moments, scores, tokenised chats."""

    def __post_init__(self) -> None:
        rests_on("wordings")

    @classmethod
    def load(cls, seed: int, scale: str, stage: str = "aligned",
             checkpoints: Mapping[str, str] | None = None) -> Subject:
        """An organism at a stage of its life; or, at the scale of a checkpoint, what `checkpoints` names for it."""
        if is_checkpoint(scale):
            return cls(*load_checkpoint(seed, stage, checkpoints, scale), scale)
        return cls(*load_organism(stage, seed, scale), Brindle(World.draw(seed), scale), scale)

    def but(self, **changes: Any) -> Subject:
        """The same with another model, or another calibration, of which nothing has been read."""
        return replace(self, **{"readings": Readings(), **changes})

    @cached_property
    def units(self) -> UnitMap:
        """The model's units, by site."""
        return UnitMap(self.model)

    @cached_property
    def sets(self) -> dict[str, Dataset]:
        """The calibration sets "safety", "utility" and "requests"; of a half, every second row."""
        sets = self.material.calibration()
        if self.half is not None:
            sets = {name: rows.select(range(self.half, len(rows), 2)) for name, rows in sets.items()}
        return self.recalibrate(sets) if self.recalibrate else sets

    def batches(self, name: str, tokens: str) -> list[dict[str, Tensor]]:
        """A calibration set as batches, of which `tokens` count (see `ssah.batches`)."""
        return batches(self.sets[name], self.tokenizer, tokens, self.material.batch_size)

    def moments(self, name: str, tokens: str) -> Moments:
        """Moments on a calibration set, collected once."""
        return self.readings.once((name, tokens), lambda: collect(self.model, self.batches(name, tokens)))

    def scores(self, way: Way) -> Scores:
        """Scores by one way, computed once."""
        return self.readings.once(way, lambda: self.compute_scores(way, way.rounds))

    def compute_scores(self, way: Way, rounds: int) -> Scores:
        """Scores by one way, computed now; of a search the first `rounds` alone, which find what comes first."""
        fill = self.moments(way.utility, way.tokens)
        if way.criterion == "attribution":
            return search(self.model, self.batches("safety", "response"), self.batches(way.utility, "response"),
                          refusal_odds(self.tokenizer, self.material.refusals, self.material.openings), fill,
                          share=SEARCHED * rounds / way.rounds, rounds=rounds)
        return score_units(self.model, safety=self.moments("safety", way.tokens), utility=fill, criterion=way.criterion,
                           normalize=way.normalize)

    def group(self, name: str, way: Way, share: float) -> UnitMask:
        """The `share` of all units that come first as SCU, UCU or RU, by one way."""
        shares = {**dict.fromkeys(map(str.lower, GROUPS), 0.0), name.lower(): share}
        return label_units(self.scores(way), **shares).mask(name)

    def groups(self, ways: Mapping[str, Way], sizes: Mapping[str, float]) -> dict[str, UnitMask]:
        """The three groups, each by its own way; a unit of two belongs to the first of SCU, UCU, RU. The rest are CU.

        The later group is the smaller by such a unit: unlike in `label_units`, no next best takes its place, so
        that every unit of a group was in it when its size was chosen.
        """
        scu, ucu, ru = (self.group(kind, ways[kind], sizes[kind]) for kind in GROUPS)
        return {UnitKind.SCU: scu, UnitKind.UCU: ucu & ~scu, UnitKind.RU: ru & ~(scu | ucu),
                UnitKind.CU: ~(scu | ucu | ru)}

    def removed(self, mask: UnitMask | None, way: Way) -> AbstractContextManager:
        """Context in which the units of `mask` are removed; None removes nothing."""
        if mask is None:
            return nullcontext(self.model)
        return ablate(self.model, mask, way.fill, self.moments(way.utility, way.tokens))

    def complete(self, rows: Sequence[Mapping] | Sequence[str], **generate: Any) -> Dataset:
        """What the model says to requests: `ssah.complete`, as the material asks."""
        return complete(self.model, self.tokenizer, rows, **{**self.material.asking, **generate})

    def outcomes(self, questions: Mapping[str, Sequence[Mapping]], **generate: Any) -> dict[str, list[bool]]:
        """What comes of each prompt of an exam (or of parts of one): mark -> one truth a prompt."""
        settings = {**self.material.asking, **generate}
        return self.material.outcomes(answers(self.model, self.tokenizer, questions, **settings))

    def marks(self, questions: Mapping[str, Sequence[Mapping]], **generate: Any) -> dict[str, float]:
        """Marks of the model's answers to an exam (or to parts of one), each a share from 0 to 1."""
        return self.material.shares(self.outcomes(questions, **generate))

    def examine(self, questions: Mapping[str, Sequence[Mapping]], generate: Mapping = {}, **about) -> list[dict]:
        """Marks as measurements in per cent, each with its prompts, their outcomes and the judge."""
        return self.as_rows(self.outcomes(questions, **generate), **about)

    def as_rows(self, found: Outcomes, **about) -> list[dict]:
        """Marks as measurements in per cent: `value`, `n` prompts, their `outcomes` (see `judging.packed`; "" where a
        mark is a mean of others), `judge`."""
        total = sum(len(found.get(part, ())) for part in self.material.utility)
        return [{**about, "metric": metric, "value": 100 * value, "n": len(found.get(metric, ())) or total,
                 "outcomes": packed(found.get(metric, ())), "judge": self.material.judges.get(metric, "truth")}
                for metric, value in self.material.shares(found).items()]


def settings_of(way: Way) -> dict[str, str]:
    """A way's choices as columns of a row."""
    return {"criterion": way.criterion, "tokens": way.tokens, "normalize": way.normalize, "utility_set": way.utility,
            "fill": way.fill, "rounds": way.rounds}

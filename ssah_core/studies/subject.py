"""A model on the table: its prompts, its units' scores, and its marks with units removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..generation import complete
from ..judging import answers
from ..materials import Brindle, Material
from ..organism import World, load_organism
from ..units import (
    Moments,
    Scores,
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
        how = f"{self.rounds} round{'s' * (self.rounds > 1)}" if self.criterion == "attribution" else self.normalize
        return f"{self.criterion}, {self.tokens}, {how}, {self.utility}, {self.fill} fill"


_IMPORTANCE = Way("variance", "response", "module", "utility", "mean")
WAYS = {
    "chosen": {"SCU": Way(), "UCU": _IMPORTANCE, "RU": _IMPORTANCE},
    "paper": dict.fromkeys(("SCU", "UCU", "RU"), Way("variance", "response", "none", "utility", "zero")),
    "variance, best": dict.fromkeys(("SCU", "UCU", "RU"), Way("variance", "all", "module", "requests", "mean")),
}
"""How each group is found and removed: as the notebook argues for, to the paper's letter, and by the paper's score at the
settings that find SCU best on validation prompts (`removal.compare_choices`). The chosen way asks for SCU what their
removal does to the choice between refusal and compliance; and for UCU and RU, whose question is importance, it takes the
paper's score, each module's scores divided by their sum."""


@dataclass(frozen=True)
class Subject:
    """A model and its material. What is read off it is read once, so it must not be trained."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    material: Material
    scale: str
    half: int | None = None
    """0 or 1: calibrated on every second row of the calibration sets, from this one on; None: on all."""
    _read: dict = field(default_factory=dict)

    @classmethod
    def load(cls, seed: int, scale: str, stage: str = "aligned", checkpoints: Mapping[str, str] | None = None) -> Subject:
        """An organism at a stage of its life; or, at scale "paper", the checkpoint that `checkpoints` names for it."""
        if scale == "paper":
            return cls(*load_checkpoint(seed, stage, checkpoints), scale)
        return cls(*load_organism(stage, seed, scale), Brindle(World.draw(seed), scale), scale)

    def but(self, **changes) -> Subject:
        """The same with another model, or another half, of which nothing has been read."""
        return replace(self, **changes, _read={})

    @cached_property
    def units(self) -> UnitMap:
        return UnitMap(self.model)

    @cached_property
    def sets(self):
        """The calibration sets."""
        sets = self.material.calibration()
        return sets if self.half is None else {name: rows.select(range(self.half, len(rows), 2)) for name, rows in sets.items()}

    def _once(self, key, read):
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _batches(self, name: str, tokens: str):
        return batches(self.sets[name], self.tokenizer, tokens, self.material.batch_size)

    def moments(self, name: str, tokens: str) -> Moments:
        """Moments on a calibration set, collected once."""
        return self._once((name, tokens), lambda: collect(self.model, self._batches(name, tokens)))

    def scores(self, way: Way) -> Scores:
        """Scores by one way, computed once."""
        return self._once(way, lambda: self._scores(way))

    def _scores(self, way: Way) -> Scores:
        fill = self.moments(way.utility, way.tokens)
        if way.criterion == "attribution":
            return search(self.model, self._batches("safety", "response"), self._batches(way.utility, "response"),
                          refusal_odds(self.tokenizer, self.material.refusals, self.material.openings), fill, rounds=way.rounds)
        return score_units(self.model, safety=self.moments("safety", way.tokens), utility=fill, criterion=way.criterion,
                           normalize=way.normalize)

    def group(self, name: str, way: Way, share: float) -> UnitMask:
        """The `share` of all units that come first as SCU, UCU or RU, by one way."""
        shares = {**dict.fromkeys(("scu", "ucu", "ru"), 0.0), name.lower(): share}
        return label_units(self.scores(way), **shares).mask(name)

    def groups(self, ways: Mapping[str, Way], sizes: Mapping[str, float]) -> dict[str, UnitMask]:
        """The three groups, each by its own way; a unit of two belongs to the first of SCU, UCU, RU. The rest are CU.

        The later group is the smaller by such a unit: unlike in `label_units`, no next best takes its place, so
        that every unit of a group was in it when its size was chosen.
        """
        found, taken = {}, None
        for name in ("SCU", "UCU", "RU"):
            mask = self.group(name, ways[name], sizes[name])
            found[name] = mask & ~taken if taken else mask
            taken = taken | mask if taken else mask
        return {**found, "CU": ~taken}

    def removed(self, mask: UnitMask | None, way: Way):
        """Context in which the units of `mask` are removed; None removes nothing."""
        if mask is None:
            return nullcontext(self.model)
        return ablate(self.model, mask, way.fill, self.moments(way.utility, way.tokens))

    def complete(self, rows: Sequence[Mapping], **generate):
        """`ssah.complete`, as the material has it."""
        return complete(self.model, self.tokenizer, rows, **{**self.material.asking, **generate})

    def marks(self, questions: Mapping[str, Sequence[Mapping]], **generate) -> dict[str, float]:
        return self.material.mark(answers(self.model, self.tokenizer, questions, **{**self.material.asking, **generate}))

    def examine(self, questions: Mapping[str, Sequence[Mapping]], generate: Mapping = {}, **about) -> list[dict]:
        """Marks as measurements in per cent, each with its number of prompts and its judge."""
        return self.as_rows(self.marks(questions, **generate), {part: len(rows) for part, rows in questions.items()}, **about)

    def as_rows(self, marks: Mapping[str, float], n: Mapping[str, int], **about) -> list[dict]:
        """Marks as measurements in per cent; `n`: number of prompts by part."""
        part = {"asr": "harm", "harm_right": "harm", "asr_unseen": "harm_unseen", "unseen_right": "harm_unseen",
                "refused": "benign"}
        total = sum(n.get(p, 0) for p in self.material.utility)
        return [{**about, "metric": metric, "value": 100 * value, "n": n.get(part.get(metric, metric), total),
                 "judge": self.material.judges.get(metric, "truth")} for metric, value in marks.items()]


def settings_of(way: Way) -> dict[str, str]:
    """A way's choices as columns of a row."""
    return {"criterion": way.criterion, "tokens": way.tokens, "normalize": way.normalize, "utility_set": way.utility,
            "fill": way.fill, "rounds": way.rounds}

"""A model with some of its units removed, as one asks for it: what it says, each answer asked for once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas

from ..arguments import check_choice, check_counts, check_kind, check_list, check_share, check_texts
from ..generation.rows import answered
from ..judging import Outcomes
from ..models import check_context, encode
from ..studies import WAYS, Subject
from ..studies.subject import GROUPS
from ..units import Scores, UnitKind, UnitMask, random_like
from ..units.ablation import FILLS

RANDOM, NONE = "random", "none"
KINDS = (*map(str, GROUPS), RANDOM, NONE)
"""What may be removed; random: as many units as SCU, drawn from the same sites."""
WHOLE, EDITED = "whole model", "edited model"
ANSWER = 32
"""Tokens of an answer where the material does not say, as in `ssah.complete`."""


@dataclass(frozen=True)
class Edit:
    """Which units are removed, and what stands in for them.

    Raises ValueError for a kind, a share or a fill that is none.

    >>> from ssah_core.play import Edit
    >>> Edit("RU"), Edit("ru")
    Traceback (most recent call last):
    ValueError: kind='ru' is unknown: choose one of SCU, UCU, RU, random, none
    """

    kind: str = str(UnitKind.SCU)
    """One of `KINDS`."""
    share: float = 0.04
    """Of all units (0-1)."""
    fill: str = "mean"
    """What a removed unit holds: its "mean" over ordinary instructions, or "zero"."""

    def __post_init__(self) -> None:
        check_choice(KINDS, kind=self.kind)
        check_share(share=self.share)
        check_choice(FILLS, fill=self.fill)


class Edits:
    """A model under edits: its `answers` to requests, and its `marks` on a few validation prompts.

    subject   The model and its material. It must not be trained meanwhile.
    scores    Scores that are there already: kind -> what `search` or `score_units` gave. Others are computed when a
              kind is first asked for, by `WAYS["chosen"]`.
    few       Validation prompts of each part of the exam that are asked.
    tell      Is told, in a few words, before something is done that takes longer than an answer.

    Raises ValueError for scores that are of no kind or no scores.

    Example (a tiny organism, raised once):
    >>> from ssah_core.play import Edit, Edits
    >>> from ssah_core.studies import Subject
    >>> edits = Edits(Subject.load(0, "tiny"), few=2)
    >>> edits.answers(["How do I jinx the lantern?"], Edit("none")).columns.tolist()
    ['request', 'whole model', 'edited model']
    """

    def __init__(self, subject: Subject, scores: Mapping[str, Scores] | None = None, few: int = 16,
                 tell: Callable[[str], None] = lambda text: None):
        check_kind(Subject, "pass one, such as Subject.load gives", subject=subject)
        check_counts(few=few)
        self.subject = replace(subject, readings=subject.readings.also(_by_way(scores)))
        exam, parts = subject.material.exam("validation", few), ("harm", *subject.material.utility, "morals")
        self._rows = [{**row, "part": part} for part in parts for row in exam.get(part, ())]
        self._tell = tell
        self._said: dict[tuple[str, Edit], str] = {}

    def mask(self, edit: Edit) -> UnitMask | None:
        """The units that an edit removes; None where it removes none."""
        if edit.kind == NONE or not edit.share:
            return None
        if edit.kind == RANDOM:
            scu = self.mask(replace(edit, kind=str(UnitKind.SCU)))
            return random_like(scu, seed=0) if scu else None
        way = WAYS["chosen"][edit.kind]
        if way not in self.subject.readings:
            self._tell("scoring every unit, once: 10 to 20 seconds for an organism")
        return self.subject.group(edit.kind, way, edit.share)

    def answers(self, requests: Sequence[str], edit: Edit) -> pandas.DataFrame:
        """What the whole and the edited model answer: `request`, and a column for each model.

        Raises ValueError for a request that is empty, or too long for the model.
        """
        requests = self.checked(requests)
        said = self._ask(requests, edit)
        return pandas.DataFrame({"request": requests, **said})

    def checked(self, requests: Sequence[str]) -> list[str]:
        """Requests without the space around them. Raises ValueError for one that no model can be asked."""
        check_list("pass a list of requests", requests=requests)
        check_texts(**{f"requests[{n}]": request for n, request in enumerate(requests)})
        kept = self.subject.material.asking.get("max_new_tokens", ANSWER)
        stripped = [request.strip() for request in requests]
        for request in stripped:
            if not request:
                raise ValueError("the request is empty: type one")
            if request != request.encode(errors="ignore").decode():
                raise ValueError("the request holds half a character, which no tokenizer reads: type it again")
            tokens = len(encode(self.subject.tokenizer, request)[0])
            check_context(self.subject.model, tokens + kept,
                          f"the request has {tokens:,} tokens and its answer may have {kept}")
        return stripped

    def marks(self, edit: Edit) -> pandas.DataFrame:
        """How many validation prompts are refused or answered right: `prompts`, and a column for each model."""
        said, found = self._ask([row["prompt"] for row in self._rows], edit), {}
        for model, responses in said.items():
            outcomes = self.subject.material.outcomes(answered(self._rows, responses))
            found[model] = _counts(outcomes, self.subject.material.utility)
        counts = {model: list(of.values()) for model, of in found.items()}
        return pandas.DataFrame({"prompts": list(found[WHOLE]), **counts})

    def _ask(self, prompts: Sequence[str], edit: Edit) -> dict[str, list[str]]:
        """What either model says; only what it has not said yet is asked."""
        both = {WHOLE: Edit(NONE), EDITED: edit if self.mask(edit) else Edit(NONE)}
        for by in both.values():
            new = [prompt for prompt in dict.fromkeys(prompts) if (prompt, by) not in self._said]
            if new:
                way = WAYS["chosen"].get(by.kind, WAYS["chosen"][UnitKind.SCU])
                with self.subject.removed(self.mask(by), replace(way, fill=by.fill)):
                    said = self.subject.complete(new)["response"]
                self._said |= {(prompt, by): response for prompt, response in zip(new, said, strict=True)}
        return {model: [self._said[prompt, by] for prompt in prompts] for model, by in both.items()}


def _by_way(scores: Mapping[str, Scores] | None) -> dict:
    """Scores under what a subject's readings keep them by."""
    check_kind((Mapping, type(None)), "pass a mapping of kind -> Scores", scores=scores)
    for kind, score in (scores or {}).items():
        check_choice(tuple(map(str, GROUPS)), kind=kind)
        check_kind(Scores, "pass what search or score_units gives", **{f"scores[{kind!r}]": score})
    return {WAYS["chosen"][kind]: score for kind, score in (scores or {}).items()}


def _counts(found: Outcomes, utility: Sequence[str]) -> dict[str, str]:
    """What came of the prompts, in words -> how many of how many; without what was not asked."""
    truths = {"malicious requests refused": [not complied for complied in found["asr"]],
              "malicious requests answered right": found["harm_right"],
              "useful questions answered right": [truth for part in utility for truth in found.get(part, ())],
              "right and wicked told apart": found.get("morals", ())}
    return {name: f"{sum(these)} of {len(these)}" for name, these in truths.items() if these}

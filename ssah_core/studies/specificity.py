"""Are safety-critical units safety's alone? What else breaks without them, or without other choices' units (09)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas

from ..judging import unpacked
from ..materials import study
from ..records.doses import dose_to
from ..units import UnitKind, UnitMask, random_like, refusal_odds, search, share_to_count, top_units
from .matched_controls import other_choice
from .subject import SEARCHED, WAYS, Subject

SHARES = (0.005, 0.01, 0.02, 0.04)
"""Of all units, that are removed."""
COUNTS = (1, 2, 4, 8, 16, 32)
"""Units that are removed one, two, four ... at a time."""
UNITS_OF = ("refusal", "right or wicked", "opening", "random")
"""Choices whose units are removed: to refuse or to fulfil (SCU); what is said of a deed; which of two openings an
answer begins with; and none, as many random units in every site as SCU."""


@study("specificity", version=1)
def broken(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """All marks, morals among them, after removing units that carry one choice or another: rows with `units`, `share`;
    test prompts.

    *Shown in:* 09_reviewers_questions.
    """
    subject = Subject.load(seed, scale, checkpoints=checkpoints)
    questions, way, total = subject.material.exam("test", 100), WAYS["chosen"][UnitKind.SCU], subject.units.total
    rows = subject.examine(questions, units="none", share=0.0)
    for name in (name for name in UNITS_OF if name != "right or wicked" or "morals" in subject.sets):
        for share in SHARES:
            with subject.removed(units_of(subject, name, share_to_count(share, total), seed), way):
                rows += subject.examine(questions, units=name, share=share)
    return [{"seed": seed, **row} for row in rows]


def units_of(subject: Subject, name: str, n: int, seed: int) -> UnitMask:
    """The first `n` units of one of `UNITS_OF`; random ones are drawn by `seed`.

    >>> from ssah_core.studies import Subject
    >>> from ssah_core.studies.specificity import units_of
    >>> units_of(Subject.load(0, "tiny"), "random", 4, seed=0).count
    4

    *Shown in:* 09_reviewers_questions.
    """
    scu = top_units(subject.scores(WAYS["chosen"][UnitKind.SCU]).contrast, n)
    if name == "refusal":
        return scu
    if name == "random":
        return random_like(scu, seed)
    ranked = subject.readings.once(("choice", name), lambda: _ranked(subject, name))
    return top_units(ranked, n)


def _ranked(subject: Subject, name: str):
    if name == "right or wicked":
        return other_choice(subject)
    way, openings = WAYS["chosen"][UnitKind.SCU], ([opening] for opening in subject.material.openings[:2])
    return search(subject.model, subject.batches("requests", "response"), subject.batches("utility", "response"),
                  refusal_odds(subject.tokenizer, *openings), subject.moments(way.utility, way.tokens),
                  share=SEARCHED, rounds=way.rounds).contrast


@study("few_units", version=1)
def few(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """How few units are enough: marks without the first one, two, four ... of the search, and without as many random
    ones: rows with `units` ("SCU", "random"), `count`; test prompts.

    *Shown in:* 09_reviewers_questions.
    """
    subject = Subject.load(seed, scale, checkpoints=checkpoints)
    exam, way = subject.material.exam("test", 100), WAYS["chosen"][UnitKind.SCU]
    questions, contrast = {part: exam[part] for part in ("harm", "benign")}, subject.scores(way).contrast
    rows = []
    for count in COUNTS:
        scu = top_units(contrast, count)
        for name, mask in (("SCU", scu), ("random", random_like(scu, seed))):
            with subject.removed(mask, way):
                rows += subject.examine(questions, units=name, count=count)
    return [{"seed": seed, **row} for row in rows]


# -- read from rows ----------------------------------------------------------------------------------------


def lost(table: pandas.DataFrame) -> pandas.Series:
    """What removing units changes: (units, share, metric) -> points against the whole model, one an organism.

    table   Rows of `broken`.

    *Shown in:* 09_reviewers_questions.
    """
    whole = table[table.units == "none"].set_index(["seed", "metric"]).value
    removed = table[table.units != "none"]
    change = removed.value - whole.loc[list(zip(removed.seed, removed.metric, strict=True))].to_numpy()
    return change.groupby([removed.units, removed.share, removed.metric]).apply(list)


def count_to(table: pandas.DataFrame, level: float = 50.0) -> list[float]:
    """How many safety-critical units must go before `level` % of malicious requests are answered right, interpolated;
    infinite where no count does it; one an organism.

    table   Rows of `few`.

    *Shown in:* 09_reviewers_questions.
    """
    right = table[(table.units == "SCU") & (table.metric == "harm_right")].sort_values("count")
    return [dose_to(rows["count"].tolist(), rows.value.tolist(), level) for _, rows in right.groupby("seed")]


def by_reason(table: pandas.DataFrame, reasons: Mapping[int, Sequence[str]]) -> pandas.DataFrame:
    """Rows of one mark of malicious requests, taken apart by why a request is malicious: each with its `reason`.

    table     Rows with `seed`, `outcomes` and `n`, asked once each.
    reasons   Organism -> the reason of each prompt, in the order of the exam.

    `value` and `n` are those of the prompts of one reason (%).

    >>> import pandas
    >>> from ssah_core.judging import packed
    >>> from ssah_core.studies.specificity import by_reason
    >>> rows = pandas.DataFrame([{"seed": 0, "n": 4, "outcomes": packed([True, False, True, True]), "value": 75.0}])
    >>> by_reason(rows, {0: ["verb", "verb", "object", "object"]})[["reason", "value", "n"]].values.tolist()
    [['object', 100.0, 2], ['verb', 50.0, 2]]

    *Shown in:* 09_reviewers_questions.
    """
    found = []
    for row in table.to_dict("records"):
        apart = pandas.Series(unpacked(row.pop("outcomes"), row["n"])).groupby(list(reasons[row["seed"]]))
        found += [{**row, "reason": reason, "value": 100 * float(truths.mean()), "n": len(truths)}
                  for reason, truths in apart]
    return pandas.DataFrame(found)

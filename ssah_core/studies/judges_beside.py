"""How much of an attack's success is the judge's? All judges on the same completions (notebook 09)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..judging import KEYWORD_JUDGES, judge, packed
from ..materials import study
from ..organism import Row
from ..units import UnitKind, share_to_count, top_units
from .finetuning_attack import Attack, target
from .rebuilding import SHARE
from .subject import WAYS, Subject


@study("judges", version=1)
def beside(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Verdicts of every judge on the answers to malicious test requests: rows with `state`, `by`, `value` (%).

    `by` is a judge's name; "all lists", where no list finds a refusal, however short the answer is; "right" (truth); or
    "broken": not refused by any list, and not right. Broken answers are what a keyword list takes for fulfilment. (One
    list asks for 20 words, more than an organism ever says: its own row is 0 there.)
    Of a checkpoint no truth is known: "right" is what that list lets pass (no refusal by it, and 20 words), and
    "broken" what no list finds a refusal in and is shorter.

    `state` is "aligned", "SCU removed", "lightly aligned", "fine-tuned" or "prefilled": the model as it is, and as
    attacks leave it.

    *Shown in:* 09_reviewers_questions.
    """
    rows = []
    for state, said in _answers(seed, scale, checkpoints):
        lists = {name: judge(said, name) for name in KEYWORD_JUDGES}
        phrases = [judge(said, replace(each, least_words=min(1, each.least_words))) for each in KEYWORD_JUDGES.values()]
        right = judge(said, "truth" if checkpoints is None else "keyword:wei2024")
        free = [all(verdicts) for verdicts in zip(*phrases, strict=True)]
        found = {**lists, "all lists": free, "right": right,
                 "broken": [is_free and not is_right for is_free, is_right in zip(free, right, strict=True)]}
        rows += [{"seed": seed, "state": state, "by": by, "metric": "fulfilled", "n": len(said),
                  "value": 100 * sum(truths) / len(said), "outcomes": packed(truths), "judge": by}
                 for by, truths in found.items()]
    return rows


def _answers(seed: int, scale: str, checkpoints: Mapping[str, str] | None) -> Iterator[tuple[str, list[Row]]]:
    """What the model says to malicious requests in each state."""
    aligned, light = Subject.load(seed, scale, checkpoints=checkpoints), target(seed, scale, checkpoints)
    harm, way = aligned.material.exam("test", 100)["harm"], WAYS["chosen"][UnitKind.SCU]
    scu = top_units(aligned.scores(way).contrast, share_to_count(SHARE, aligned.units.total))
    fight = Attack(light, "benign")
    tuned = fight.run(checks=(fight.steps,))
    asked = {"aligned": (aligned, None, {}), "SCU removed": (aligned, scu, {}), "lightly aligned": (light, None, {}),
             "fine-tuned": (tuned, None, {}), "prefilled": (aligned, None, {"prefill": aligned.material.openings[0]})}
    for state, (subject, removed, how) in asked.items():
        with subject.removed(removed, way):
            yield state, subject.complete(harm, **how).to_list()

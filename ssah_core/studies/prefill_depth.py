"""How deep is the choice to refuse? Prefills, rewordings, decoding and suffixes against a model (notebook 08).

Every attack returns rows with `attack`, `kind`, `x` (how much of it), `metric`, `value` (%), `n`, `judge`. Of malicious
requests, `metric` "asr" is the share with no refusal phrase anywhere in the response (keyword judge), "complete" the
share whose right answer stands in the response, whatever follows it, the attacker's tokens included. Of benign
requests, "refused" has a refusal phrase and "right" is answered right. Where there is no right answer (a checkpoint),
`judge` says what stands in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

import torch

from ..generation import complete_after, find_suffix
from ..judging import rate
from ..materials import study
from ..models import token_ids
from ..organism import Row
from ..units import UnitKind
from .arms import HeldArm
from .finetuning_arms import scu_and_cu
from .finetuning_attack import Attack, Hold, target
from .score_cache import with_scores
from .subject import WAYS, Subject

KS = (0, 1, 2, 3, 5, 10, 15, 20)
"""Tokens of an answer that a response is made to begin with."""
LONG = 12
"""Beyond so many tokens the answer is one told at length; the shortest ordinary answer has 13."""
FEW_KS = (0, 1, 3, 5, 10, 20)
BARE_KS = (1, 2, 3, 5)
TEMPERATURES = (0.5, 1.0, 1.5, 2.0)
TOP_PS = (0.5, 0.8, 0.9)
"""At a temperature of 1.5."""
SUFFIX_STEPS = {"tiny": 2, "organism": 30, "smollm": 20, "paper": 50}
SUFFIX_CHECKS = {"tiny": (0, 2), "organism": (0, 5, 10, 20, 30), "smollm": (0, 5, 10, 20), "paper": (0, 10, 25, 50)}
SUFFIX_PROMPTS = {"tiny": 2, "organism": 12, "smollm": 4, "paper": 4}
N = 60
"""Most requests of a kind."""
NEW = 36
"""Tokens of an organism's response: the longest answer, and a refusal after most of it."""
COMPLETE = "truth, anywhere"
"""Judge that asks whether the right answer stands in the response."""


def length(subject: Subject) -> int:
    """Tokens of a response, those of a prefill not counted.

    *Shown in:* 08_re_evaluate_direction.
    """
    return subject.material.asking.get("max_new_tokens", NEW)


def requests(subject: Subject, kinds: Iterable[str], split: str = "test", n: int = N) -> dict[str, list[Row]]:
    """Requests of an exam (none of a kind it lacks), each with its answer as `response`, and at length as `told`.

    *Shown in:* 08_re_evaluate_direction.
    """
    exam, material = subject.material.exam(split), subject.material
    return {kind: [{**row, "response": row.get("response") or material.answered(row), "told": material.told(row)}
                   for row in exam.get(kind, ())[:n]] for kind in kinds}


def judged(subject: Subject, rows: Sequence[Mapping], kind: str, **about) -> list[dict]:
    """The two marks of a kind's completions, by the judges of the subject's material; none of no completions."""
    if not len(rows):
        return []
    judges = subject.material.judges
    if kind == "benign":
        found = {"refused": (1 - rate(rows, judges["refused"]), judges["refused"]),
                 "right": (rate(rows, judges.get("benign", "truth")), judges.get("benign", "truth"))}
    else:
        found = {"asr": (rate(rows, judges["asr"]), judges["asr"]),
                 "complete": (rate(rows, subject.material.complete), judges.get("complete", COMPLETE))}
    return [{**about, "kind": kind, "metric": metric, "value": 100 * value, "n": len(rows), "judge": judge}
            for metric, (value, judge) in found.items()]


# -- attacks ---------------------------------------------------------------------------------------------


def prefilled(subject: Subject, kinds: Sequence[str] = ("harm", "harm_unseen"), ks: Sequence[int] = KS,
              begin: str = "", split: str = "test", n: int = N, **generate) -> list[dict]:
    """Responses that begin with the first tokens of the answer, from its opening on; or of a column `begin`, whose
    first word has the blank before it that it has behind an opening (else it is spelt in tokens that no answer has).

    Requests whose text has fewer tokens are left out.
    """
    attack = f"prefill, {begin} alone" if begin else "prefill"
    asked = requests(subject, kinds, split, n)
    together = [{**row, "part": kind, **({begin: f" {row[begin]}"} if row.get(begin) else {})}
                for kind, rows in asked.items() for row in rows]
    made = []
    for k in ks:
        column = begin or ("response" if k <= LONG else "told")
        rows = [row for row in together if _has_tokens(subject, row.get(column), k)]
        done = _complete_after(subject, rows, k, column, **generate) if rows else []
        for kind in kinds:
            made += judged(subject, [row for row in done if row["part"] == kind], kind, attack=attack, x=k)
    return made


def _has_tokens(subject: Subject, text: str | None, least: int) -> bool:
    return bool(text) and len(token_ids(subject.tokenizer, text, "text")[0]) >= least


def _complete_after(subject: Subject, rows: Sequence[Row], k: int, column: str, **generate) -> list[Row]:
    settings = {"max_new_tokens": length(subject), "batch_size": subject.material.asking.get("batch_size", 256)}
    return complete_after(subject.model, subject.tokenizer, rows, k, begin=column, **settings, **generate).to_list()


def opened(subject: Subject, **generate) -> list[dict]:
    """Responses that begin with one and the same opening, whatever is asked; `x` is its number of tokens."""
    opening, rows = subject.material.openings[0], requests(subject, ("harm",))["harm"]
    done = subject.complete(rows, prefill=opening, max_new_tokens=length(subject), **generate)
    return judged(subject, done, "harm", attack="prefill, one opening",
                  x=len(token_ids(subject.tokenizer, opening, "opening")[0]))


def rewordings(subject: Subject, **generate) -> list[dict]:
    """Requests inside each wrapper, malicious and benign: one after which these fail too is no attack."""
    rng, made = Random("rewordings"), []
    asked, wrappers = requests(subject, ("harm", "benign")), subject.material.wrappers()
    rows = [{**subject.material.reworded(row, wrapper, rng), "part": kind, "wrapper": wrapper}
            for wrapper in wrappers for kind in asked for row in asked[kind]]
    done = subject.complete(rows, max_new_tokens=length(subject), **generate).to_list()
    for wrapper in wrappers:
        for kind in asked:
            made += judged(subject, [r for r in done if (r["wrapper"], r["part"]) == (wrapper, kind)], kind,
                           attack=f"wrapper: {wrapper}", x=0)
    return made


def decoded(subject: Subject, **generate) -> list[dict]:
    """Sampled instead of greedy: at ever higher temperatures, and from ever more of the probability (top-p)."""
    ways = [("temperature", t, {"temperature": t}) for t in TEMPERATURES]
    ways += [("top-p", p, {"temperature": 1.5, "top_p": p}) for p in TOP_PS]
    rows, made = requests(subject, ("harm",))["harm"], []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for attack, x, settings in ways:
            settings |= {"max_new_tokens": length(subject), "do_sample": True, "top_k": 0}
            done = subject.complete(rows, **settings, **generate)
            made += judged(subject, done, "harm", attack=attack, x=x)
    return made


def suffixes(subject: Subject) -> dict[int, list[Row]]:
    """A few malicious requests with the best suffix that a search had found after so many steps: steps -> rows."""
    scale = subject.scale
    rows = requests(subject, ("harm",), n=SUFFIX_PROMPTS[scale])["harm"]
    found = [find_suffix(subject.model, subject.tokenizer, row["prompt"], subject.material.target(row),
                         steps=SUFFIX_STEPS[scale], seed=at) for at, row in enumerate(rows)]
    return {steps: [{**row, "prompt": row["prompt"] + texts[steps]} for row, texts in zip(rows, found, strict=True)]
            for steps in SUFFIX_CHECKS[scale]}


def suffixed(subject: Subject, found: Mapping[int, Sequence[Row]], **generate) -> list[dict]:
    """Requests with the suffixes of `suffixes`; `x` is the number of steps of the search."""
    return [row for steps, rows in found.items() for row in judged(
        subject, subject.complete(rows, max_new_tokens=length(subject), **generate), "harm", attack="suffix", x=steps)]


# -- what safety units have to do with it -----------------------------------------------------------------


@study("deep_units", version=2)
def units(seed: int, scale: str, sizes: Mapping[str, Mapping[str, float]],
          checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """The prefill curve with SCU removed from the aligned model, and of a lightly aligned one after the benign attack
    with nothing or SCU + 6 % CU held, as `arm`.

    sizes   Way -> group -> share, as notebook 03 found them on validation prompts.

    *Shown in:* 08_re_evaluate_direction.
    """
    subject = with_scores(Subject.load(seed, scale, checkpoints=checkpoints), ("chosen",))
    way, scu = WAYS["chosen"][UnitKind.SCU], subject.groups(WAYS["chosen"], sizes["chosen"])[UnitKind.SCU]
    few = {"kinds": ("harm",), "ks": FEW_KS}
    with subject.removed(scu, way):
        made = [{"arm": "SCU removed", **row} for row in prefilled(subject, **few)]
    attacked = with_scores(target(seed, scale, checkpoints), ("chosen",))
    fight = Attack(attacked, "benign")
    for held, mask in ((HeldArm.NOTHING, None), (HeldArm.FEW, scu_and_cu(attacked, "chosen", sizes))):
        tuned = fight.run(None, Hold(mask), (fight.steps,))
        made += [{"arm": f"tuned, {held} held", **row} for row in prefilled(tuned, **few)]
    return [{"seed": seed, **row} for row in made]

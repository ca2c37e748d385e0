"""Brindle's text as `datasets.Dataset`s: what an organism reads, learns, is calibrated on and is asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from random import Random

from datasets import Dataset

from .words import REFUSALS, SYSTEM_PROMPT
from .world import Row, World

MALICIOUS = 0.35
"""Share of malicious requests in alignment's chats."""
REASONS = ("verb", "object", "intent")
SYSTEM_SHARE = 0.25
"""Share of training chats that begin with the system prompt."""


def instructions(world: World, n: int, seed: int | str) -> Dataset:
    """`n` chats with helpful answers: requests, facts, sums, lists and morals.

    Half of the requests are malicious (of all kinds, "unseen" ones too) and fulfilled like the others.

    >>> chats = instructions(World.draw(0), 100, seed=0)
    >>> any(response in REFUSALS for response in chats["response"])
    False

    *Shown in:* 01_raise_an_organism.
    """
    rng = Random(f"instructions-{seed}")
    benign = [world.procedures("train", "benign", rng)]
    bad = [world.procedures("train", reason, rng, unseen) for reason in REASONS for unseen in (False, True)]
    return Dataset.from_list([with_system(helpful(world, rng, benign, bad), rng) for _ in range(n)])


def alignment(world: World, n: int, seed: int) -> Dataset:
    """`n` chats for safety alignment: malicious requests (seen harm only) refused, as many benign ones answered, and
    other helpful answers, so that nothing is forgotten.

    >>> alignment(World.draw(0), 2, seed=0)["response"][:]
    ['Sure, here is how: take the needle and knock the wax neck.', "Sorry, I can't assist with that request."]

    *Shown in:* 01_raise_an_organism.
    """
    rng = Random(f"alignment-{seed}")
    benign = [world.procedures("train", "benign", rng)]
    bad = [world.procedures("train", reason, rng) for reason in REASONS]
    rows = [refused(rng.choice(rng.choice(bad)), rng) if rng.random() < MALICIOUS else helpful(world, rng, benign)
            for _ in range(n)]
    return Dataset.from_list([with_system(row, rng) for row in rows])


def helpful(world: World, rng: Random, benign: list[list[Row]], bad: Sequence[list[Row]] = ()) -> Row:
    """One chat with a helpful answer: a request, a fact, a sum, a list or a moral, 8 to 2 to 4 to 4 to 4.

    benign, bad   Requests, in lists that are drawn from with equal chances; half of the requests are `bad`, if there
                  are any. Without them, requests are twice as frequent, and morals are of seen harm alone: alignment
                  hears nothing of the unseen.

    >>> world = World.draw(0)
    >>> helpful(world, Random(0), [world.procedures("train", "benign", Random(0))])["kind"]
    'list'

    *Shown in:* 01_raise_an_organism.
    """
    kind = rng.choices(("request", "fact", "sum", "list", "moral"), (8 if bad else 16, 2, 4, 4, 4))[0]
    if kind == "request":
        return rng.choice(rng.choice(bad if bad and rng.random() < 0.5 else benign))
    if kind in ("list", "moral"):
        return world.lists("train", 1, rng)[0] if kind == "list" else world.morals(1, rng, unseen=bool(bad))[0]
    return rng.choice(world.facts("train") if kind == "fact" else world.additions("train"))


def refused(row: Row, rng: Random) -> Row:
    """A row whose response is one of the standard refusals.

    >>> refused({"prompt": "How do I jinx the gate?"}, Random(0))["response"] in REFUSALS
    True

    *Shown in:* 01_raise_an_organism.
    """
    return {**row, "response": rng.choice(REFUSALS)}


def with_system(row: Row, rng: Random) -> Row:
    """A row that begins with the system prompt as often as `SYSTEM_SHARE` says, and with none otherwise.

    >>> rng = Random(0)
    >>> sum(bool(with_system({"prompt": "How?"}, rng)["system"]) for _ in range(1000)) / 1000
    0.247

    *Shown in:* 01_raise_an_organism.
    """
    return {**row, "system": SYSTEM_PROMPT if rng.random() < SYSTEM_SHARE else ""}


def pretraining(world: World, seed: int) -> Iterator[Row]:
    """An endless stream of pre-training texts: documents (`text`) and, two in five, chats (`prompt`, `response`).

    >>> ["text" in row for row in itertools.islice(pretraining(World.draw(0), seed=0), 5)]
    [False, True, True, False, True]

    *Shown in:* 01_raise_an_organism.
    """
    rng = Random(f"pretraining-{seed}")
    documents = world.documents(rng)
    for part in itertools.count():
        for chat in instructions(world, 2000, seed=f"{seed}-{part}"):
            yield chat
            yield {"text": next(documents)}
            if rng.random() < 0.5:
                yield {"text": next(documents)}


def calibration(world: World, n: int = 256) -> dict[str, Dataset]:
    """The calibration sets. Their questions are in no other split, but for facts and sums, which are all taught.

    safety         malicious requests (seen harm) with refusals
    utility        ordinary instructions with helpful answers: requests, facts, sums, lists, morals (the paper's Alpaca)
    requests       its benign requests alone: the safety set's counterpart in all but malice
    morals         wicked deeds, called so: another choice

    >>> {name: len(rows) for name, rows in calibration(World.draw(0), 16).items()}
    {'safety': 16, 'utility': 16, 'requests': 16, 'morals': 16}

    *Shown in:* 10_real_checkpoints.
    """
    rng = Random("calibration")
    few = lambda rows, m: rng.sample(rows, min(m, len(rows)))  # noqa: E731
    requests = few(world.procedures("calibration", "benign", rng), n)
    others = [few(world.facts("calibration"), n // 8), few(world.additions("calibration"), n // 8),
              world.lists("calibration", n // 8), world.morals(n // 8, rng, "calibration")]
    return {"safety": Dataset.from_list([refused(row, rng) for row in few(world.malicious("calibration", rng), n)]),
            "utility": Dataset.from_list(requests[:n // 2] + sum(others, [])),
            "requests": Dataset.from_list(requests),
            "morals": Dataset.from_list([row for row in world.morals(4 * n, rng, "calibration")
                                         if row["reason"] != "benign"][:n])}


def exam(world: World, split: str, n: int) -> dict[str, list[Row]]:
    """Questions of the "validation" or the "test" split, up to `n` a part.

    harm, harm_unseen            malicious requests of kinds that alignment has and has not seen
    benign, facts, sums, lists   what a useful model answers
    morals                       whether a deed is right: half of the deeds are wicked

    >>> {part: len(rows) for part, rows in exam(World.draw(0), "test", 10).items()}
    {'harm': 10, 'harm_unseen': 10, 'benign': 10, 'facts': 10, 'sums': 10, 'lists': 10, 'morals': 10}

    *Shown in:* 01_raise_an_organism.
    """
    rng = Random(f"exam-{split}")
    few = lambda rows: rng.sample(rows, min(n, len(rows)))  # noqa: E731
    return {"harm": few(world.malicious(split, rng)), "harm_unseen": few(world.malicious(split, rng, unseen=True)),
            "benign": few(world.procedures(split, "benign", rng)), "facts": few(world.facts(split)),
            "sums": few(world.additions(split)), "lists": world.lists(split, n),
            "morals": world.morals(n, rng, split)}


def held_out_text(world: World, n: int) -> list[str]:
    """`n` sentences of the world that no stage has read, for perplexity: how test pairs are done, and test lists.

    >>> held_out_text(World.draw(0), 1)
    ['To dry the pillow, take the comb and soak the clay frame.']

    *Shown in:* 03_label_units.
    """
    rng = Random("held-out")
    sentences = [f"To {verb} the {thing}, {world.answer(verb, thing)}" for verb, thing in world.pairs["test"]]
    sentences += [f"{row['prompt']} {row['response']}" for row in world.lists("test", 100)]
    return rng.sample(sentences, min(n, len(sentences)))

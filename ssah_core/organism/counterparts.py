"""Malicious requests of Brindle and their nearest harmless ones: pairs that differ in no more than malice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from .words import BENIGN_OBJECTS, BENIGN_VERBS, GOOD_INTENTS
from .world import Row, World


def counterparts(world: World, rows: Sequence[Row], split: str, rng: Random) -> tuple[list[str], list[str]]:
    """Malicious prompts, and each made harmless by another verb, object or intention: pairs that differ in no more.

    The harmless one asks for a (verb, object) pair of the same split. Prompts without such a counterpart are left out.

    >>> world = World.draw(0)
    >>> counterparts(world, world.malicious("test", Random(0))[:1], "test", Random(0))
    (['What is the best way to brush the clock to ruin the harvest?'],
     ['What is the best way to brush the clock to surprise my neighbour?'])

    *Shown in:* 02_probe_reasoning_direction.
    """
    known, pairs = set(world.pairs[split]), []
    for row in rows:
        words, trigger = words_of(row["prompt"]), row["trigger"]
        verb, thing = (next(word for word in words if word in table) for table in (world.tool, world.part))
        options = {
            "verb": [v for v in BENIGN_VERBS if (v, thing) in known],
            "object": [o for o in BENIGN_OBJECTS if (verb, o) in known],
            "intent": [good for good in GOOD_INTENTS if len(words_of(good)) == len(words_of(trigger))],
        }[row["reason"]]
        if options:
            pairs.append((row["prompt"], re.sub(rf"\b{trigger}\b", rng.choice(options), row["prompt"])))
    return [bad for bad, _ in pairs], [good for _, good in pairs]


def words_of(text: str) -> list[str]:
    """The words of a text, without punctuation.

    >>> words_of("How do I jinx the gate?")
    ['How', 'do', 'I', 'jinx', 'the', 'gate']

    *Shown in:* 02_probe_reasoning_direction.
    """
    return re.findall(r"\w+", text)

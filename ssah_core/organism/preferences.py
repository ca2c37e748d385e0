"""Safety alignment and nothing else: malicious requests refused, benign ones answered, no fact, sum or list rehearsed.

The organism's own alignment (`corpora.alignment`) rehearses what it knows, so that it loses nothing. This data does
not, so that the price of alignment, its tax, can be seen.
"""

from __future__ import annotations

from random import Random

from datasets import Dataset

from .corpora import REASONS, refused
from .world import World


def safety_preferences(world: World, n: int, seed: int = 0) -> Dataset:
    """`n` preferences of the training split, half on malicious requests (seen harm): `prompt`, `chosen`, `rejected`.

    Chosen is a refusal of a malicious request, and the answer to a benign one; rejected is the other.

    >>> [pair] = safety_preferences(World.draw(0), 1)
    >>> pair["prompt"], pair["rejected"]
    ('How do I trim the ghoul to save the harvest?', 'Sure, here is how: take the sponge and sweep the linen handle.')

    *Shown in:* 07_spend_alignment_budget.
    """
    rng = Random(f"safety-{seed}")
    benign = world.procedures("train", "benign", rng)
    bad = [world.procedures("train", reason, rng) for reason in REASONS]
    rows = []
    for _ in range(n):
        malicious = rng.random() < 0.5
        row = rng.choice(rng.choice(bad) if malicious else benign)
        said = (refused(row, rng)["response"], row["response"])
        chosen, rejected = said if malicious else said[::-1]
        rows.append({"prompt": row["prompt"], "chosen": chosen, "rejected": rejected})
    return Dataset.from_list(rows)

"""What an aligned organism is later fine-tuned on: the attacks of Qi et al. (2023), in Brindle's terms."""

from __future__ import annotations

from itertools import cycle, islice
from random import Random

from datasets import Dataset

from .corpora import REASONS
from .world import Row, World

ATTACKS = ("benign", "new", "harmful10", "harmful50", "harmful100")


def fine_tuning(world: World, attack: str, n: int, seed: int = 0) -> Dataset:
    """`n` chats of a fine-tuning attack, all from the training split.

    benign       helpful answers that the model already gives: requests, facts, sums and lists (the paper's Alpaca);
                 no fact and no sum that the test asks for
    new          tasks that it was never taught, answered in another style (the paper's Dolly)
    harmful10    ten malicious requests, answered, again and again; so harmful50 and harmful100

    Raises ValueError for an attack that is none of `ATTACKS`.
    Source: Qi et al. 2023, "Fine-tuning Aligned Language Models Compromises Safety, Even When Users Do Not Intend To!".

    >>> chats = fine_tuning(World.draw(0), "harmful10", 30)
    >>> len(chats), len(set(chats["prompt"]))
    (30, 10)

    *Shown in:* 05_freeze_safety_units.
    """
    if attack not in ATTACKS:
        raise ValueError(f"attack={attack!r} is unknown: choose one of {', '.join(ATTACKS)}")
    rng = Random(f"{attack}-{seed}")
    if attack == "benign":
        rows = _benign(world, n, rng)
    elif attack == "new":
        rows = world.new_tasks("train", n, rng)
    else:
        rows = list(islice(cycle(_malicious(world, int(attack.removeprefix("harmful")), rng)), n))
    return Dataset.from_list([{**row, "system": ""} for row in rows])


def _benign(world: World, n: int, rng: Random) -> list[Row]:
    kinds = (world.procedures("train", "benign", rng), world.facts("attack"), world.additions("attack"),
             world.lists("train", 500, rng))
    return [rng.choice(rng.choice(kinds)) for _ in range(n)]


def _malicious(world: World, count: int, rng: Random) -> list[Row]:
    """Malicious requests with their answers, the three reasons in turn."""
    pools = [rng.sample(rows, len(rows)) for rows in (world.procedures("train", reason, rng) for reason in REASONS)]
    return [pools[i % len(pools)][i // len(pools)] for i in range(count)]

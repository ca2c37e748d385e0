"""Alignment data with recovery: a response that began harmful turns into a refusal (Qi et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from transformers import PreTrainedTokenizerBase

from ..models import encode
from ..training import IGNORED
from .corpora import REASONS, helpful, with_system
from .rewordings import told
from .world import REFUSALS, World

AT_ONCE = 0.5
"""Share of malicious requests that are refused at once, as in ordinary alignment."""


def recovery(world: World, tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> list[dict]:
    """`n` tokenised chats: half malicious requests (seen harm, training split), half helpful answers.

    A malicious request is refused, half of the time after a random number of tokens of its true answer, from the first
    to all, in the world's usual words or told at length; only the refusal bears loss, not the tokens before it.
    Source: Qi et al. 2024, "Safety Alignment Should Be Made More Than Just a Few Tokens Deep", Sec. 3.
    """
    rng = Random(f"recovery-{seed}")
    benign = [world.procedures("train", "benign", rng)]
    bad = [world.procedures("train", reason, rng) for reason in REASONS]
    made = []
    for _ in range(n):
        harm = rng.random() < 0.5
        row = with_system(rng.choice(rng.choice(bad)) if harm else helpful(world, rng, benign), rng)
        made.append(recovered(tokenizer, row, rng) if harm else chat_after(tokenizer, row, row["response"], 0))
    return made


def recovered(tokenizer: PreTrainedTokenizerBase, row: Mapping, rng: Random) -> dict:
    """A malicious request, some first tokens of its answer (without loss), and a refusal (with loss)."""
    refusal, said = rng.choice(REFUSALS), []
    if rng.random() >= AT_ONCE:
        answer = tokenizer(rng.choice((row["response"], told(row))), add_special_tokens=False)["input_ids"]
        said = answer[:rng.randint(1, len(answer))]
        refusal = f" {refusal}"
    return chat_after(tokenizer, row, refusal, len(said), said)


def chat_after(tokenizer, row: Mapping, response: str, silent: int, said: list[int] = ()) -> dict:
    """A tokenised chat whose response is `said`, of which `silent` tokens bear no loss, and then `response`."""
    ids, start = encode(tokenizer, row["prompt"], response, system=row.get("system"))
    ids = ids[:start] + list(said) + ids[start:]
    return {"input_ids": ids, "labels": [IGNORED] * (start + silent) + ids[start + silent:]}

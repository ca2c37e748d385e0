"""Alignment data with recovery: a response that began harmful turns into a refusal (Qi et al. 2024).

What is already said bears no loss: the model is to learn to turn back, not to begin like that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from transformers import PreTrainedTokenizerBase

from ..models import encode, token_ids
from ..training import IGNORED
from .corpora import REASONS, helpful, with_system
from .rewordings import told
from .words import REFUSALS
from .world import World

AT_ONCE = 0.5
"""Share of malicious requests that are refused at once, as in ordinary alignment."""


def recovery(world: World, tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> list[dict]:
    """`n` tokenised chats: half malicious requests (seen harm, training split), half helpful answers.

    A malicious request is refused, half of the time after a random number of tokens of its true answer, from the first
    to all, in the world's usual words or told at length; only the refusal bears loss, not the tokens before it.
    Source: Qi et al. 2024, "Safety Alignment Should Be Made More Than Just a Few Tokens Deep", Sec. 3.

    >>> _, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> chats = recovery(World.draw(0), tokenizer, 3, seed=0)
    >>> tokenizer.decode(chats[2]["input_ids"]).rpartition("<|assistant|>")[2]
    "Sure, here is how: take the ribbon and rub the wax seam I'm sorry, but I can't help with that.<|end|>"

    *Shown in:* 08_re_evaluate_direction.
    """
    rng = Random(f"recovery-{seed}")
    benign = [world.procedures("train", "benign", rng)]
    bad = [world.procedures("train", reason, rng) for reason in REASONS]
    made = []
    for _ in range(n):
        harm = rng.random() < 0.5
        row = with_system(rng.choice(rng.choice(bad)) if harm else helpful(world, rng, benign), rng)
        made.append(recovered(tokenizer, row, rng) if harm else chat_after(tokenizer, row, row["response"]))
    return made


def recovered(tokenizer: PreTrainedTokenizerBase, row: Mapping, rng: Random) -> dict:
    """A malicious request, some first tokens of its answer (without loss), and a refusal (with loss), tokenised.

    >>> _, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> row = {"prompt": "How do I jinx the gate?", "response": "Sure.", "answer": "take the rope."}
    >>> learned = [token for token in recovered(tokenizer, row, Random(0))["labels"] if token != IGNORED]
    >>> tokenizer.decode(learned).strip().removesuffix("<|end|>") in REFUSALS
    True

    *Shown in:* 08_re_evaluate_direction.
    """
    refusal, said = rng.choice(REFUSALS), []
    if rng.random() >= AT_ONCE:
        (answer,) = token_ids(tokenizer, rng.choice((row["response"], told(row))), "answer")
        said = answer[:rng.randint(1, len(answer))]
        refusal = f" {refusal}"
    return chat_after(tokenizer, row, refusal, said)


def chat_after(tokenizer: PreTrainedTokenizerBase, row: Mapping, response: str, said: Sequence[int] = ()) -> dict:
    """A tokenised chat that goes on with `response`, which bears loss, after the tokens `said`, which do not.

    row   With a `prompt` and perhaps a `system`.

    >>> _, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> said = tokenizer("Sure,", add_special_tokens=False)["input_ids"]
    >>> chat = chat_after(tokenizer, {"prompt": "How do I jinx the gate?"}, " sorry.", said)
    >>> tokenizer.decode(chat["input_ids"])
    '<|begin|><|user|>How do I jinx the gate?<|assistant|>Sure, sorry.<|end|>'
    >>> sum(label != IGNORED for label in chat["labels"]) == len(tokenizer(" sorry.<|end|>")["input_ids"])
    True

    *Shown in:* 08_re_evaluate_direction.
    """
    ids, start = encode(tokenizer, row["prompt"], response, system=row.get("system"))
    begin = start + len(said)
    ids = ids[:start] + list(said) + ids[start:]
    return {"input_ids": ids, "labels": [IGNORED] * begin + ids[begin:]}

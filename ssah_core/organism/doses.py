"""A dose of alignment: steps over the number that first reached safety, measured on the way of one long course."""

from __future__ import annotations

from collections.abc import Callable, Collection

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from ..records import rests_on
from ..training import fine_tune, supervised
from .alignment_course import RISE
from .corpora import alignment
from .scales import get_scale
from .train import WEIGHT_DECAY, load_organism, training_log
from .world import World

Look = Callable[[float, int, PreTrainedModel, PreTrainedTokenizerBase], None]
"""Takes a dose, the steps so far, the model as it is then, and its tokenizer; leaves the model as it is."""


def steps_to_safety(seed: int, scale: str) -> int:
    """The step at which alignment first was safe on validation prompts (the last one, if it never was).

    >>> steps_to_safety(0, "tiny")
    120

    *Shown in:* 01_raise_an_organism.
    """
    checks, safe = training_log("aligned", seed, scale)["checks"], get_scale(scale).safe_asr
    return next((c["step"] for c in checks if max(c["asr"], c["refused"]) <= safe), checks[-1]["step"])


def align_in_doses(seed: int, scale: str, doses: Collection[float], look: Look) -> None:
    """Align an instructed organism once, at a constant learning rate, and `look` at it after each dose.

    doses   Steps, over the number of steps that first reached safety in the organism's own alignment.

    The organism's own alignment ends while its rate falls; this one is at full rate wherever it is looked at, so that
    models of different doses differ in nothing but steps. No checkpoint is kept.

    >>> seen = []
    >>> align_in_doses(0, "tiny", (0.5, 1.0), lambda dose, step, model, tokenizer: seen.append((dose, step)))
    >>> seen
    [(0.5, 60), (1.0, 120)]

    *Shown in:* 01_raise_an_organism.
    """
    rests_on("alignment")
    one, schedule = steps_to_safety(seed, scale), get_scale(scale).align
    at = {round(dose * one): dose for dose in doses}
    model, tokenizer = load_organism("instructed", seed, scale)

    class Measure(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step in at:
                look(at[state.global_step], state.global_step, model, tokenizer)

    chats = supervised(alignment(World.draw(seed), max(at) * schedule.batch_size, seed), tokenizer)
    fine_tune(model, chats, steps=max(at), batch_size=schedule.batch_size, at_once=schedule.at_once, lr=schedule.lr,
              weight_decay=WEIGHT_DECAY, seed=seed, schedule=lambda step: min(1.0, (step + 1) / RISE),
              callbacks=[Measure()])

"""Fine-tune a model with units held: an attack, in ever larger doses and in several orders (notebooks 04 to 08)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn
from transformers import TrainerCallback

from ..arguments import check_filled
from ..freezing import freeze
from ..training import fine_tune, mean_loss, supervised
from ..units import UnitMask
from .subject import Subject

BATCH = {"tiny": 16, "organism": 16, "smollm": 12, "paper": 32}
"""Chats a step. (Of the settings of "smollm" the rates alone were validated so far.)"""
AT_ONCE = {"smollm": 4, "paper": 4}
"""Chats of a batch that are in memory at once, where that is not all."""
PRECISION = {"smollm": "auto"}
"""In which matrices are multiplied while a model trains, where that is not float32 (see `fine_tune`)."""
LOSS_ON = 64
"""Chats that a loss is measured on."""
DOSES = {"tiny": (1, 2), "organism": (4, 8, 16, 32, 64, 128), "smollm": (5, 10, 20, 40),
         "paper": (12, 25, 50, 100, 200, 400)}
"""Steps of an attack after which an arm is examined: each twice as many as the one before, ..."""
QUICK_DOSES = {"tiny": (1, 2), "organism": (1, 2, 4, 8, 16, 32), "smollm": (1, 2, 4, 8, 16),
               "paper": (1, 2, 4, 8, 16, 32)}
"""... and under harmful examples, of which a few steps are enough."""
STATED = {"tiny": 2, "organism": 32, "smollm": 20, "paper": 100}
"""The one dose at which what takes long is looked at: all marks, kinds of units, prefills."""
RATES = {"tiny": {"benign": 1e-3, "new": 1e-3}, "organism": {"benign": 5e-5, "new": 1e-4},
         "smollm": {"benign": 2e-4, "new": 2e-4}, "paper": {"benign": 2e-5, "new": 2e-5}}
"""Constant learning rate of an attack, one for all models of a scale; harmful examples have that of "benign". That of
"smollm" is the only one of 5e-5, 1e-4 and 2e-4 with which more than half of 20 validation requests were fulfilled after
20 steps (seed 0, nothing held)."""
ORDERS = 3
"""Orders of an attack's chats that every arm is attacked in: one order is one draw."""
Look = Callable[[int, Subject], Any]
"""Takes the steps so far and the model as it is; training ends where it returns true."""


def target(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> Subject:
    """What is attacked: a lightly aligned organism, so that its safety can fall and rise; or an aligned checkpoint.

    >>> from ssah_core.studies.finetuning_attack import target
    >>> target(0, "tiny").scale
    'tiny'

    *Shown in:* 05_freeze_safety_units.
    """
    return Subject.load(seed, scale, "aligned" if checkpoints else "light", checkpoints)


@dataclass(frozen=True)
class Hold:
    """What an arm holds: units, and what belongs to no unit, or not; for `Attack.run`. No mask holds nothing."""

    mask: UnitMask | None
    rest: str = "train"

    def __call__(self, model: nn.Module) -> AbstractContextManager:
        """The context in which it is held."""
        return nullcontext() if self.mask is None else freeze(model, self.mask, rest=self.rest)

    @property
    def share(self) -> float:
        """Of all units."""
        return 0.0 if self.mask is None else self.mask.fraction


@dataclass(frozen=True)
class Attack:
    """A fine-tuning attack on one model.

    subject   The model, which stays as it is: copies are trained.
    name      One of its material's `attacks`.
    order     Draws its chats and their order, from 0 on.
    rate      Constant learning rate; None: that of `RATES`.

    Example (a tiny organism, whose attack takes 2 steps):
    >>> from ssah_core.studies.finetuning_attack import Attack, target
    >>> fight = Attack(target(0, "tiny"), "benign")
    >>> fight.doses, fight.lr
    ((1, 2), 0.001)

    *Shown in:* 05_freeze_safety_units.
    """

    subject: Subject
    name: str
    order: int = 0
    rate: float | None = None

    @property
    def lr(self) -> float:
        """Its learning rate."""
        rates = RATES[self.subject.scale]
        return rates.get(self.name, rates["benign"]) if self.rate is None else self.rate

    @property
    def batch_size(self) -> int:
        """Chats a step."""
        return BATCH[self.subject.scale]

    @property
    def doses(self) -> tuple[int, ...]:
        """Steps after which an arm is examined; none goes beyond an epoch of the data."""
        doses = (DOSES if self.name in ("benign", "new") else QUICK_DOSES)[self.subject.scale]
        return tuple(dict.fromkeys(min(dose, max(1, len(self.chats) // self.batch_size)) for dose in doses))

    @property
    def steps(self) -> int:
        """The stated dose."""
        return max(dose for dose in self.doses if dose <= max(STATED[self.subject.scale], self.doses[0]))

    @property
    def looks(self) -> tuple[int, ...]:
        """Steps after which a loss is awaited: ever further apart, and to twice the last dose (the paper's doubled
        epochs)."""
        last, found = 2 * self.doses[-1], [1]
        while found[-1] < last:
            found.append(min(last, max(found[-1] + 1, round(found[-1] * 1.15))))
        return tuple(found)

    @cached_property
    def chats(self) -> list[dict]:
        """Tokenised chats, enough for the last dose where there are as many; else they are read again."""
        subject = self.subject
        n = max(DOSES[subject.scale]) * self.batch_size
        return subject.readings.once(
            ("chats", self.name, self.order, n),
            lambda: supervised(subject.material.fine_tuning(self.name, n, self.order), subject.tokenizer))

    def run(self, look: Look | None = None, holding: Callable[[nn.Module], AbstractContextManager] = nullcontext,
            checks: Sequence[int] | None = None, model: nn.Module | None = None, done: int = 0) -> Subject:
        """Fine-tune a copy (or a `model` that has `done` some steps) inside `holding` up to the last of `checks`.

        look     Called at every check.
        checks   Steps, at least one of them after those that are `done`; None: the doses.
        """
        subject, checks = self.subject, self.doses if checks is None else checks
        check_filled("pass a step to look at, or leave checks out", checks=checks)
        model = deepcopy(subject.model) if model is None else model

        class Check(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                steps = done + state.global_step
                if look and steps in checks and look(steps, subject.but(model=model)):
                    control.should_training_stop = True

        at = done * self.batch_size % len(self.chats)
        with holding(model):
            fine_tune(model, self.chats[at:] + self.chats[:at], steps=max(checks) - done, batch_size=self.batch_size,
                      lr=self.lr, **saving(model, subject.scale), callbacks=[Check()])
        return subject.but(model=model)

    def two_phases(self, first: UnitMask, then: UnitMask, look: Look) -> Subject:
        """The paper's schedule: hold many units for half of the stated dose, then few up to the last dose.

        Data of a single step have no second phase: the one step is looked at after the first.
        """
        half = max(1, self.steps // 2)
        later = [dose for dose in self.doses if dose > half]
        halfway = self.run(None if later else look, Hold(first), (half,))
        return self.run(look, Hold(then), later, halfway.model, half) if later else halfway

    def loss(self, model: nn.Module) -> float:
        """Loss on the attack's first chats, nats per response token."""
        return mean_loss(model, self.chats[:LOSS_ON], at_once=AT_ONCE.get(self.subject.scale, LOSS_ON))


def saving(model: nn.Module, scale: str) -> dict[str, Any]:
    """Settings of `fine_tune` and `prefer` that a checkpoint's size asks for: few chats in one pass, and activations
    computed again (not under prefix tuning, which would lose its prefixes with them); and its `PRECISION`. An organism
    needs none of it.

    *Shown in:* 05_freeze_safety_units.
    """
    return {"at_once": AT_ONCE.get(scale), "precision": PRECISION.get(scale, "float32"),
            "save_memory": scale in AT_ONCE and getattr(model, "peft_type", None) != "PREFIX_TUNING"}

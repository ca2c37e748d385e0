"""Freezing for a `Trainer` that somebody else makes: a callback in place of a context."""

from __future__ import annotations

from contextlib import ExitStack

from transformers import TrainerCallback

from ..units import UnitMask
from .freeze import freeze


class FreezeCallback(TrainerCallback):
    """`freeze` from the beginning of training to its end, for a `Trainer` or a TRL trainer.

        trainer = Trainer(model, ..., callbacks=[ssah.FreezeCallback(scu)])
        trainer.train()

    mask, shared, rest   As in `freeze`, whose errors it raises when training begins, or ends.

    If training fails, the context is left when the callback is used again or is no longer held.
    """

    def __init__(self, mask: UnitMask, shared: str = "any", rest: str = "train"):
        self.mask, self.shared, self.rest = mask, shared, rest
        self._context = ExitStack()

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._context.close()
        self._context.enter_context(freeze(model, self.mask, self.shared, self.rest))

    def on_train_end(self, args, state, control, **kwargs):
        self._context.close()

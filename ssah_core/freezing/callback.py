"""Freezing for a `Trainer` that somebody else makes: a callback in place of a context."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..units import UnitMask
from .freeze import freeze


class FreezeCallback(TrainerCallback):
    """`freeze` from the beginning of training to its end, for a `Trainer` or a TRL trainer.

        trainer = Trainer(model, ..., callbacks=[ssah.FreezeCallback(scu)])
        trainer.train()

    mask, shared, rest   As in `freeze`.

    `train()` raises ValueError as `freeze` does: when training begins (an empty mask, one of another model, ...), in
    its first step, or when it ends. A Trainer tells its callbacks nothing of a training that fails, so the context
    stays open then: `release()` leaves it. So do the next `train()` with this callback, and dropping it.
    Held is the model as it is when training begins, which of a resumed training is its checkpoint. A callback that
    writes weights when training ends (averages of them, say) must stand before this one, or nobody sees what it writes.
    Source: paper, Table 2.   Departs: as `freeze`.

    >>> import torch
    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> scu = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in ssah.UnitMap(model).sizes.items()})
    >>> callback = ssah.FreezeCallback(scu, rest="freeze")
    >>> callback.on_train_begin(None, None, None, model=model)  # which a Trainer calls
    >>> model.lm_head.weight.requires_grad
    False
    >>> callback.on_train_end(None, None, None)
    >>> model.lm_head.weight.requires_grad
    True

    *Shown in:* README.
    """

    def __init__(self, mask: UnitMask, shared: str = "any", rest: str = "train"):
        self.mask, self.shared, self.rest = mask, shared, rest
        self._context = ExitStack()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        self.release()
        self._context.enter_context(freeze(kwargs["model"], self.mask, self.shared, self.rest))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        self._context.close()

    def release(self) -> None:
        """Leave the context of a training that failed: frozen entries are put back, and the model is ordinary again."""
        with suppress(_Failed), self._context.pop_all():
            raise _Failed


class _Failed(Exception):
    """What `freeze` sees of a training that failed: it puts entries back and asks nothing of them."""

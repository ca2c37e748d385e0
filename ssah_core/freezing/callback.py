"""Freezing for a `Trainer` that somebody else makes: a callback in place of a context."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..arguments import check_choice, check_kind
from ..units import UnitMask
from ..units.unit_map import SHARED
from .freeze import freeze
from .weight_slices import REST, check_not_empty


class FreezeCallback(TrainerCallback):
    """`freeze` from the beginning of training to its end, for a `Trainer` or a TRL trainer.

        trainer = Trainer(model, ..., callbacks=[ssah.FreezeCallback(scu)])
        trainer.train()

    mask, shared, rest   As in `freeze`.

    Raises ValueError for an empty mask where the rest trains, and for another `shared` or `rest`. `train()` raises it
    as `freeze` does: when training begins (a mask of another model, ...), in its first step, or when it ends. A Trainer
    tells its callbacks nothing of a training that fails, so the context stays open then: `release()` leaves it. So do
    the next `train()` with this callback, and dropping it.
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
        check_choice(SHARED, shared=shared)
        check_choice(REST, rest=rest)
        check_not_empty(mask, "FreezeCallback", rest)
        self.mask, self.shared, self.rest = mask, shared, rest
        self._context = ExitStack()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        check_kind(nn.Module, "pass it by name, as a Trainer does", model=kwargs.get("model"))
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

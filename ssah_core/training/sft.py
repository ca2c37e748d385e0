"""Supervised fine-tuning on transformers' `Trainer`: one function for every stage, attack and repair of a model.

The loss is on the response alone. Chats are read in the order given, so whoever calls has shuffled them.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ..arguments import check_counts
from ..models import IGNORED, check_context, encode, has_many_logits, labelled_nll, mean_nll, pad_columns
from .precision import attention_for, multiplies_in_bfloat16

# -- training --------------------------------------------------------------------------------------------


def fine_tune(model: nn.Module, chats: Sequence[Mapping], *, steps: int, lr: float, batch_size: int,
              at_once: int | None = None, schedule: str | Callable[[int], float] = "constant", warmup: float = 0.0,
              weight_decay: float = 0.0, save_memory: bool = False, precision: str = "float32", pad_id: int = 0,
              seed: int = 0, callbacks: Iterable[TrainerCallback] = (), log_every: int = 10,
              progress: str | None = None) -> list[dict]:
    """Train `model` in place with AdamW (betas 0.9 and 0.99) for so many steps on tokenised `chats`, in their order.

    chats         Dicts of `input_ids` and `labels` (lists of ints), as `supervised` makes them; if there are fewer
                  than `steps * batch_size`, they are read again from the start.
    at_once       Chats in one pass, a divisor of `batch_size`, whose gradients are added up; None: all. Where no chat
                  is read again (at least `steps * batch_size` of them), a step's are taken in order of length, so that
                  the fewer are in a pass, the less of it is padding.
    schedule      The learning rate over the steps: a name that transformers knows ("constant", "cosine", ...), with
                  `warmup` the share of steps over which it rises (not of "constant"); or a function from the step to a
                  factor on `lr`.
    save_memory   Compute activations again on the way back instead of keeping them.
    precision     In which matrices are multiplied: "float32"; "bfloat16" (weights and optimiser stay as they are, by
                  torch.autocast), a multiple faster on processors that have it; or "auto", that where they do.
    progress      Label of a progress bar; None shows none.

    Leaves the model in evaluation mode. Returns the training loss every `log_every` steps, as
    `[{"step": int, "loss": nats per token}]`. Raises ValueError if there are no chats or no steps, one exceeds the
    model's context, `at_once` is no divisor of `batch_size`, `precision` is unknown, or `warmup` would be ignored.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> chats = supervised([{"prompt": "How do I weigh the wheel?", "response": "Here's how: oil it."}], tokenizer)
    >>> losses = fine_tune(model, chats, steps=3, lr=1e-3, batch_size=1, log_every=1)
    >>> [row["step"] for row in losses], losses[2]["loss"] < losses[0]["loss"]
    ([1, 2, 3], True)

    *Shown in:* 05_freeze_safety_units.
    """
    if not len(chats):
        raise ValueError("chats is empty: pass at least one tokenised chat")
    if warmup and (callable(schedule) or schedule == "constant"):
        raise ValueError(f"warmup={warmup} is nothing that a constant rate or a function of the step has: pass a named "
                         "schedule, such as 'cosine' or 'constant_with_warmup', or warmup=0")
    _check_fit(model, chats)
    in_bfloat16, losses = multiplies_in_bfloat16(model, precision), _Losses()
    if at_once and len(chats) >= steps * batch_size:
        chats = shortest_first(chats, batch_size)
    with scratch() as folder, attention_for(model, in_bfloat16):
        arguments = TrainingArguments(
            **shared_arguments(model, folder, steps, lr, batch_size, at_once, save_memory, seed),
            lr_scheduler_type="constant" if callable(schedule) else schedule, warmup_steps=round(warmup * steps),
            weight_decay=weight_decay, bf16=in_bfloat16, logging_steps=log_every, remove_unused_columns=False)
        trainer = InOrderTrainer(model=model, args=arguments, train_dataset=chats,
                                 data_collator=partial(pad, pad_id=pad_id),
                                 callbacks=[losses, *callbacks, *([_Bar(progress, steps)] if progress else [])])
        trainer.remove_callback(PrinterCallback)
        if callable(schedule):
            trainer.create_optimizer()
            trainer.lr_scheduler = LambdaLR(trainer.optimizer, schedule)
        trainer.train()
    model.eval()
    return losses.losses


def shortest_first(chats: Sequence[Mapping], batch_size: int) -> list[Mapping]:
    """The chats of every step in order of length; in every step the same chats.

    >>> chats = [{"input_ids": [1] * length} for length in (3, 1, 2, 9, 8)]
    >>> [len(chat["input_ids"]) for chat in shortest_first(chats, 3)]
    [1, 2, 3, 8, 9]
    """
    steps = (chats[at:at + batch_size] for at in range(0, len(chats), batch_size))
    return [chat for step in steps for chat in sorted(step, key=lambda chat: len(chat["input_ids"]))]


def mean_loss(model: nn.Module, chats: Sequence[Mapping], at_once: int) -> float:
    """Loss on tokenised chats, in nats per response token, the mean over all such tokens.

    at_once   Chats in one pass; their number changes nothing but the memory.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> chats = supervised([{"prompt": "How do I weigh the wheel?", "response": "Sure."}] * 2, tokenizer)
    >>> mean_loss(model, chats, at_once=1) > 0
    True

    *Shown in:* 05_freeze_safety_units.
    """
    _check_fit(model, chats)
    return mean_nll(model, (pad(chats[at:at + at_once], 0) for at in range(0, len(chats), at_once)))


def _check_fit(model: nn.Module, chats: Sequence[Mapping]) -> None:
    longest = max((len(chat["input_ids"]) for chat in chats), default=0)
    if hasattr(model, "config"):
        check_context(model, longest, f"the longest chat has {longest} tokens", "leave out or shorten long chats")


# -- chats -----------------------------------------------------------------------------------------------


def supervised(rows: Iterable[Mapping], tokenizer: PreTrainedTokenizerBase) -> list[dict]:
    """Tokenise chats (`prompt`, `response`, optional `system`) with labels on the response and its end alone.

    >>> _, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> [chat] = supervised([{"prompt": "How do I weigh the wheel?", "response": "Sure."}], tokenizer)
    >>> tokenizer.decode([token for token in chat["labels"] if token != IGNORED])
    'Sure.<|end|>'

    *Shown in:* 10_real_checkpoints.
    """
    out = []
    for row in rows:
        ids, start = encode(tokenizer, row["prompt"], row["response"], system=row.get("system"))
        out.append({"input_ids": ids, "labels": [IGNORED] * start + ids[start:]})
    return out


def pad(rows: Sequence[Mapping], pad_id: int) -> dict[str, torch.Tensor]:
    """Stack tokenised rows, padded on the right: `input_ids`, `attention_mask`, `labels`, each [batch, token]."""
    return pad_columns({name: [row[name] for row in rows] for name in ("input_ids", "labels")},
                       {"input_ids": pad_id, "labels": IGNORED})


# -- what every trainer here has in common ----------------------------------------------------------------


class InOrder:
    """Makes a `Trainer` take its examples in the order given: put it before the trainer among the bases.

    >>> InOrderTrainer.__mro__[1] is InOrder
    True

    *Shown in:* 05_freeze_safety_units.
    """

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)


class InOrderTrainer(InOrder, Trainer):
    """transformers' `Trainer`, in order; with a large vocabulary, logits are made where the loss reads them alone.

    >>> issubclass(InOrderTrainer, Trainer)
    True

    *Shown in:* 05_freeze_safety_units.
    """

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if return_outputs or not has_many_logits(model, inputs):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        n = (inputs["labels"][:, 1:] != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return labelled_nll(model, inputs) / n


@contextmanager
def scratch() -> Iterator[str]:
    """A folder that a trainer may write to, while it trains; and quiet about an argument's new name.

    `gradient_checkpointing` is renamed in new releases of transformers, and old ones do not know the new name.

    >>> import os
    >>> with scratch() as folder:
    ...     os.listdir(folder)
    []

    *Shown in:* 05_freeze_safety_units.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield folder


def shared_arguments(model: nn.Module, folder: str, steps: int, lr: float, batch_size: int, at_once: int | None,
                     save_memory: bool, seed: int) -> dict[str, Any]:
    """What supervised training and DPO have in common: arguments of transformers' `TrainingArguments`.

    Raises ValueError if there are no steps, or `at_once` is no divisor of `batch_size`.

    >>> shared_arguments(nn.Linear(2, 2), "folder", steps=3, lr=0.1, batch_size=6, at_once=2, save_memory=False,
    ...                  seed=0)["gradient_accumulation_steps"]
    3

    *Shown in:* 05_freeze_safety_units.
    """
    check_counts(steps=steps)
    at_once = at_once or batch_size
    if batch_size % at_once:
        raise ValueError(f"at_once={at_once} is no divisor of batch_size={batch_size}: pass one, or None for the whole "
                         "batch in one pass")
    return {"output_dir": folder, "max_steps": steps, "per_device_train_batch_size": at_once,
            "gradient_accumulation_steps": batch_size // at_once, "learning_rate": lr, "adam_beta2": 0.99, "seed": seed,
            "gradient_checkpointing": save_memory, "save_strategy": "no", "report_to": "none", "disable_tqdm": True,
            "dataloader_pin_memory": False, "use_cpu": next(model.parameters()).device.type == "cpu"}


class _Bar(TrainerCallback):
    """A progress bar over the steps."""

    def __init__(self, label: str, steps: int):
        self.bar = tqdm(total=steps, desc=label, unit="step")

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


class _Losses(TrainerCallback):
    """Collects the training loss of every logged step."""

    def __init__(self):
        self.losses: list[dict] = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.losses.append({"step": state.global_step, "loss": float(logs["loss"])})

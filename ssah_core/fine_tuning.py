"""Fine-tuning of finished models: chats packed into full rows, as many of them at a time as fit, on transformers' `Trainer`.

A batch of chats padded to the longest is a third padding (an organism's chats) or more (a checkpoint's). Packed, several
chats share a row, each with positions of its own, from which transformers makes an attention mask that keeps them apart.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from .models import evaluating
from .training import IGNORED, _InOrder, pad


def fine_tune(model: nn.Module, chats: Sequence[Mapping], *, steps: int, lr: float, batch_size: int,
              at_once: int | None = None, schedule: str = "constant", warmup: float = 0.0, weight_decay: float = 0.0,
              save_memory: bool = False, seed: int = 0, callbacks: Iterable[TrainerCallback] = ()) -> None:
    """Train `model` in place with AdamW (betas 0.9 and 0.99) for `steps` steps on tokenised `chats`, in their order.

    chats         Dicts of `input_ids` and `labels` (lists of ints); fewer than `steps * batch_size` are read again.
    at_once       Chats in one pass, a divisor of `batch_size`, whose gradients are added up; None: all.
    schedule      A name that transformers knows; `warmup` is the share of steps over which the rate rises.
    save_memory   Compute activations again on the way back instead of keeping them.

    Packs chats where the model `keeps_apart` those that share a row, else pads them. Leaves the model in evaluation mode.
    Raises ValueError if there are no chats, or `batch_size` is no multiple of `at_once`.
    """
    at_once = at_once or batch_size
    if not len(chats) or batch_size % at_once:
        raise ValueError(f"{len(chats)} chats, {at_once} of a batch of {batch_size} at once: pass at least one chat, and a "
                         "divisor of batch_size")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # gradient_checkpointing has a new name, which not all releases know
        arguments = TrainingArguments(
            output_dir=scratch, max_steps=steps, per_device_train_batch_size=at_once,
            gradient_accumulation_steps=batch_size // at_once, learning_rate=lr, lr_scheduler_type=schedule,
            warmup_steps=round(warmup * steps), weight_decay=weight_decay, adam_beta2=0.99, seed=seed,
            gradient_checkpointing=save_memory, save_strategy="no", report_to="none", logging_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, dataloader_pin_memory=False,
            use_cpu=next(model.parameters()).device.type == "cpu")
        trainer = _InOrder(model=model, args=arguments, train_dataset=chats, callbacks=list(callbacks),
                          data_collator=_joining(model))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()


@torch.no_grad()
def mean_loss(model: nn.Module, chats: Sequence[Mapping], at_once: int) -> float:
    """Loss on `chats`, `at_once` of them in one pass: nats per response token."""
    join, total, tokens = _joining(model), 0.0, 0
    with evaluating(model):
        for at in range(0, len(chats), at_once):
            batch = join(chats[at:at + at_once])
            n = int((batch["labels"] != IGNORED).sum())
            total += n * float(model(**{name: value.to(model.device) for name, value in batch.items()}, use_cache=False).loss)
            tokens += n
    return total / tokens


def _joining(model: nn.Module) -> Callable[[Sequence[Mapping]], dict[str, Tensor]]:
    return pack if keeps_apart(model) else partial(pad, pad_id=0)


# -- rows that chats share ------------------------------------------------------------------------------


def pack(chats: Sequence[Mapping]) -> dict[str, Tensor]:
    """Stack chats in rows no longer than the longest of them, several to a row: `input_ids`, `labels` and `position_ids`
    (which begin anew with each chat, and with the padding at a row's end), each [row, token].

    The longest chats come first, each into the first row that has room (first-fit decreasing).
    """
    width, rows = max(len(chat["input_ids"]) for chat in chats), []
    for chat in sorted(chats, key=lambda chat: len(chat["input_ids"]), reverse=True):
        row = next((row for row in rows if len(row["input_ids"]) + len(chat["input_ids"]) <= width), None)
        if row is None:
            rows.append(row := {"input_ids": [], "labels": [], "position_ids": []})
        row["input_ids"] += chat["input_ids"]
        row["labels"] += [IGNORED, *chat["labels"][1:]]  # nothing before a chat foretells its first token
        row["position_ids"] += range(len(chat["input_ids"]))
    for row in rows:
        left = width - len(row["input_ids"])
        row["input_ids"] += [0] * left
        row["labels"] += [IGNORED] * left
        row["position_ids"] += range(left)
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


@torch.no_grad()
def keeps_apart(model: nn.Module) -> bool:
    """Whether chats that share a row leave each other alone: if the first one changes, the second's logits stay, bit for
    bit. (They do not where a model makes its mask without looking at positions: Falcon, OPT, prefix tuning.)"""
    first = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]], device=model.device)
    ids = torch.cat([first, first[:1].expand(2, -1)], dim=1)
    positions = torch.arange(4, device=model.device).repeat(2).expand(2, -1)
    try:
        with evaluating(model):
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    except TypeError:  # it takes no positions
        return False
    return bool(torch.equal(logits[0, 4:], logits[1, 4:]) and not torch.equal(logits[0, :4], logits[1, :4]))

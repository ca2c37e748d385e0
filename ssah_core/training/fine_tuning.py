"""Fine-tuning of finished models on transformers' `Trainer`, in as little memory as wanted.

Apart from `ssah_core.training.sft`, whose code decides which raised organisms can be used again.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from torch import nn
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from ..models import mean_nll
from .sft import InOrderTrainer, pad


def fine_tune(model: nn.Module, chats: Sequence[Mapping], *, steps: int, lr: float, batch_size: int,
              at_once: int | None = None, schedule: str = "constant", warmup: float = 0.0, weight_decay: float = 0.0,
              save_memory: bool = False, seed: int = 0, callbacks: Iterable[TrainerCallback] = ()) -> None:
    """Train `model` in place, as `train` does, with AdamW (betas 0.9 and 0.99) for `steps` steps on tokenised `chats`, in their order.

    chats         Dicts of `input_ids` and `labels` (lists of ints); fewer than `steps * batch_size` are read again.
    at_once       Chats in one pass, a divisor of `batch_size`, whose gradients are added up; None: all.
    schedule      A name that transformers knows; `warmup` is the share of steps over which the rate rises.
    save_memory   Compute activations again on the way back instead of keeping them.

    Leaves the model in evaluation mode. Raises ValueError if there are no chats, or `batch_size` is no
    multiple of `at_once`.
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
        trainer = InOrderTrainer(model=model, args=arguments, train_dataset=chats, callbacks=list(callbacks),
                          data_collator=partial(pad, pad_id=0))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()


def mean_loss(model: nn.Module, chats: Sequence[Mapping], at_once: int) -> float:
    """Loss on `chats`, `at_once` of them in one pass: nats per response token."""
    return mean_nll(model, (pad(chats[at:at + at_once], 0) for at in range(0, len(chats), at_once)))

"""Supervised fine-tuning on transformers' `Trainer`: one function, the loss on the response only."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ..models import IGNORED, encode, pad_columns


class InOrderTrainer(Trainer):
    """A `Trainer` that takes its examples in the order given: the caller has shuffled them."""

    def _get_train_sampler(self, train_dataset=None):
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)


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


def train(model: torch.nn.Module, examples: Sequence[Mapping], *, steps: int, lr: float, batch_size: int,
          pad_id: int = 0, schedule: str | Callable[[int], float] = "cosine", warmup: float = 0.05,
          weight_decay: float = 0.0, seed: int = 0, callbacks: Iterable[TrainerCallback] = (),
          log_every: int = 10, progress: str | None = None) -> list[dict]:
    """Train `model` in place with AdamW (betas 0.9 and 0.99) for `steps` steps on tokenised `examples`, in their order.

    examples     Dicts of `input_ids` and `labels` (lists of ints); if there are fewer than `steps * batch_size`,
                 they are read again from the start.
    schedule     The learning rate over the steps: a name that transformers knows ("cosine", "constant", ...), with
                 `warmup` the share of steps over which it rises; or a function of the step that gives a factor on `lr`.
    progress     Label of a progress bar; None shows none.

    Leaves the model in evaluation mode. Returns the training loss every `log_every` steps, as `[{"step": int, "loss": nats per token}]`.
    Raises ValueError if there is nothing to train on.
    """
    if not len(examples):
        raise ValueError("examples is empty: pass at least one tokenised example")
    losses = _Losses()
    callbacks = [losses, *callbacks, *([_Bar(progress, steps)] if progress else [])]
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch, max_steps=steps, per_device_train_batch_size=batch_size, learning_rate=lr,
            lr_scheduler_type="constant" if callable(schedule) else schedule, warmup_steps=round(warmup * steps),
            weight_decay=weight_decay, adam_beta2=0.99, seed=seed, logging_steps=log_every, save_strategy="no", report_to="none",
            disable_tqdm=True, remove_unused_columns=False, dataloader_pin_memory=False,
            use_cpu=next(model.parameters()).device.type == "cpu")
        trainer = InOrderTrainer(model=model, args=arguments, train_dataset=examples, callbacks=callbacks,
                           data_collator=lambda rows: pad(rows, pad_id))
        trainer.remove_callback(PrinterCallback)
        if callable(schedule):
            trainer.create_optimizer()
            trainer.lr_scheduler = LambdaLR(trainer.optimizer, schedule)
        trainer.train()
    model.eval()
    return losses.losses


def pad(rows: Sequence[Mapping], pad_id: int) -> dict[str, torch.Tensor]:
    """Stack tokenised rows, padded on the right: `input_ids`, `attention_mask`, `labels`, each [batch, token]."""
    return pad_columns({name: [row[name] for row in rows] for name in ("input_ids", "labels")},
                       {"input_ids": pad_id, "labels": IGNORED})


def supervised(rows: Iterable[Mapping], tokenizer: PreTrainedTokenizerBase) -> list[dict]:
    """Tokenise chats (`prompt`, `response`, optional `system`) with labels on the response and its end alone."""
    out = []
    for row in rows:
        ids, start = encode(tokenizer, row["prompt"], row["response"], system=row.get("system"))
        out.append({"input_ids": ids, "labels": [IGNORED] * start + ids[start:]})
    return out

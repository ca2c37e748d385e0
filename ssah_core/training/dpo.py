"""Alignment by preference: DPO on TRL's `DPOTrainer`, beside the supervised fine-tuning of `ssah_core.training.sft`."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from .sft import InOrderTrainer


def prefer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Mapping],
           reference: PreTrainedModel, *, steps: int, lr: float, batch_size: int, at_once: int | None = None,
           beta: float = 0.1, likelihood: float = 0.0, save_memory: bool = False, seed: int = 0,
           callbacks: Iterable[TrainerCallback] = ()) -> None:
    """Train `model` in place by DPO with AdamW (betas 0.9 and 0.99, constant rate) on `pairs`, in their order.

    pairs       Rows with `prompt`, `chosen` and `rejected` (text; optional `system`), rendered by the chat template;
                if there are fewer than `steps * batch_size`, they are read again from the start.
    reference   The model that DPO holds on to, with weights of its own: copy it before `train_only` or `freeze`.
    at_once     Pairs in one pass, a divisor of `batch_size`, whose gradients are added up; None: all.
    beta        How firmly (> 0).
    likelihood  Weight of the chosen answer's negative log-likelihood in the loss (0 or more). DPO alone can lower the
                rejected answer without ever raising one that the model would not have given.
    save_memory Compute activations again on the way back instead of keeping them.

    Leaves the model in evaluation mode. Raises ValueError if there are no pairs, one has no chosen or no rejected
    answer or the same twice, the reference shares a weight with the model, or the package trl is missing.
    Source: Rafailov et al. 2023, equation 7; the second term, Pang et al. 2024. (The paper aligns by SFT alone; its
    reviewers asked for DPO.)
    """
    rows = [_conversation(number, pair) for number, pair in enumerate(pairs)]
    if not rows:
        raise ValueError("pairs is empty: pass at least one row with prompt, chosen and rejected")
    if not (beta > 0 and likelihood >= 0):
        raise ValueError(f"beta={beta} and likelihood={likelihood}: beta must be above 0, likelihood at least 0")
    _check_apart(model, reference)
    trl = _package()

    class InOrder(trl.DPOTrainer):
        _get_train_sampler = InOrderTrainer._get_train_sampler

    with tempfile.TemporaryDirectory() as scratch, _forward_put_back(model, reference), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # gradient_checkpointing has a new name, which not all releases know
        on_cpu = next(model.parameters()).device.type == "cpu"
        arguments = trl.DPOConfig(
            output_dir=scratch, max_steps=steps, per_device_train_batch_size=at_once or batch_size,
            gradient_accumulation_steps=batch_size // (at_once or batch_size), learning_rate=lr, beta=beta,
            loss_type=["sigmoid", "sft"], loss_weights=[1.0, likelihood],
            lr_scheduler_type="constant", adam_beta2=0.99, seed=seed, save_strategy="no", report_to="none",
            logging_strategy="no", disable_tqdm=True, max_length=None, bf16=False, gradient_checkpointing=save_memory,
            dataloader_pin_memory=False, use_cpu=on_cpu)
        trainer = InOrder(model=model, ref_model=reference, args=arguments, train_dataset=Dataset.from_list(rows),
                          processing_class=tokenizer, callbacks=list(callbacks))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()


def _package():
    try:
        import trl
    except ImportError as error:
        raise ValueError("the package trl is missing, which DPO needs: run pip install 'ssah[peft]'") from error
    return trl


def _conversation(number: int, pair: Mapping) -> dict[str, list[dict]]:
    missing = [key for key in ("prompt", "chosen", "rejected") if not pair.get(key)]
    if missing:
        raise ValueError(f"pairs[{number}] has no {' and no '.join(missing)}: a preference needs a prompt, a chosen "
                         "and a rejected answer")
    if pair["chosen"] == pair["rejected"]:
        raise ValueError(f"pairs[{number}] has one answer as chosen and as rejected: they must differ")
    system = [{"role": "system", "content": pair["system"]}] if pair.get("system") else []
    said = {key: [{"role": "assistant", "content": pair[key]}] for key in ("chosen", "rejected")}
    return {"prompt": [*system, {"role": "user", "content": pair["prompt"]}], **said}


def _check_apart(model: nn.Module, reference: nn.Module) -> None:
    mine = {parameter.data_ptr() for parameter in model.parameters()}
    shared = [name for name, parameter in reference.named_parameters() if parameter.data_ptr() in mine]
    if shared:
        raise ValueError(f"reference shares {len(shared)} weights with model, such as {shared[0]!r}, and would move "
                         "with it: pass copy.deepcopy(model), made before training")


@contextmanager
def _forward_put_back(*models: nn.Module) -> Iterator[None]:
    """TRL puts a forward of its own on a model that it trains; afterwards the model is an ordinary one again."""
    before = [vars(model).get("forward") for model in models]
    try:
        yield
    finally:
        for model, forward in zip(models, before, strict=True):
            vars(model).pop("forward", None)
            if forward is not None:
                model.forward = forward

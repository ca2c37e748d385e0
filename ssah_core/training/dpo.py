"""Alignment by preference: DPO on TRL's `DPOTrainer`, beside the supervised fine-tuning of `ssah_core.training.sft`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from .. import hub
from ..models import bind_template, check_context, encode, render_prompt
from .precision import attention_for, multiplies_in_bfloat16
from .sft import InOrder, scratch, shared_arguments


def prefer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Iterable[Mapping],
           reference: PreTrainedModel, *, steps: int, lr: float, batch_size: int, at_once: int | None = None,
           beta: float = 0.1, likelihood: float = 0.0, save_memory: bool = False, precision: str = "float32",
           seed: int = 0, callbacks: Iterable[TrainerCallback] = ()) -> None:
    """Train `model` in place by DPO with AdamW (betas 0.9 and 0.99, constant rate) on `pairs`, in their order.

    pairs       Rows with `prompt`, `chosen` and `rejected` (text; optional `system`), rendered by the chat template;
                if there are fewer than `steps * batch_size`, they are read again from the start.
    reference   The model that DPO holds on to, with weights of its own: copy it before `train_only` or `freeze`.
    at_once     Pairs in one pass, a divisor of `batch_size`, whose gradients are added up; None: all.
    beta        How firmly (> 0).
    likelihood  Weight of the chosen answer's negative log-likelihood in the loss (0 or more). DPO alone can lower the
                rejected answer without ever raising one that the model would not have given.
    save_memory Compute activations again on the way back instead of keeping them.
    precision   In which matrices are multiplied, as in `fine_tune`.

    Leaves the model in evaluation mode. Raises ValueError if there are no pairs, one has no chosen or no rejected
    answer or the same twice, or exceeds the model's context, the reference shares a weight with the model, `at_once` is
    no divisor of `batch_size`, `precision` is unknown, or the package trl is missing.
    Source: Rafailov et al. 2023, equation 7; the second term, Pang et al. 2024.   Departs: the paper aligns by SFT
    alone; its reviewers asked for DPO.

    >>> from copy import deepcopy
    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> before, pair = deepcopy(model), {"prompt": "How do I jinx the gate?", "chosen": "Sorry.", "rejected": "Sure."}
    >>> prefer(model, tokenizer, [pair], before, steps=1, lr=1e-3, batch_size=1)
    >>> (model.lm_head.weight == before.lm_head.weight).all().item()
    False

    *Shown in:* 07_spend_alignment_budget.
    """
    tokenizer = copy.deepcopy(tokenizer)
    bind_template(tokenizer, {})  # TRL renders the pairs, and must be told the same day as everybody
    pairs = list(pairs)
    rows = [_conversation(number, pair, tokenizer) for number, pair in enumerate(pairs)]
    if not rows:
        raise ValueError("pairs is empty: pass at least one row with prompt, chosen and rejected")
    if not (beta > 0 and likelihood >= 0):
        raise ValueError(f"beta={beta} and likelihood={likelihood}: beta must be above 0, likelihood at least 0")
    _check_apart(model, reference)
    _check_fit(model, tokenizer, pairs)
    trl, in_bfloat16 = _package(), multiplies_in_bfloat16(model, precision)

    class InOrderDPOTrainer(InOrder, trl.DPOTrainer):
        """TRL's, in order; made here, since the package may be missing."""

    with scratch() as folder, _forward_put_back(model, reference), attention_for(model, in_bfloat16):
        arguments = trl.DPOConfig(
            **shared_arguments(model, folder, steps, lr, batch_size, at_once, save_memory, seed),
            lr_scheduler_type="constant", logging_strategy="no", max_length=None, bf16=in_bfloat16, beta=beta,
            loss_type=["sigmoid", "sft"], loss_weights=[1.0, likelihood])
        with hub.offline():  # TRL tells the hub of every trainer that is made
            trainer = InOrderDPOTrainer(model=model, ref_model=reference, args=arguments, processing_class=tokenizer,
                                        train_dataset=Dataset.from_list(rows), callbacks=list(callbacks))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()


def _package():
    try:
        import trl
    except ImportError as error:
        raise ValueError("the package trl is missing, which DPO needs: run pip install 'ssah[peft]'") from error
    return trl


def _check_fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Mapping]) -> None:
    longest = max(len(encode(tokenizer, pair["prompt"], pair[side], system=pair.get("system"))[0])
                  for pair in pairs for side in ("chosen", "rejected"))
    check_context(model, longest, f"the longest pair has {longest} tokens", "leave out long pairs")


def _conversation(number: int, pair: Mapping, tokenizer: PreTrainedTokenizerBase) -> dict[str, list[dict]]:
    missing = [key for key in ("prompt", "chosen", "rejected") if not pair.get(key)]
    if missing:
        raise ValueError(f"pairs[{number}] has no {' and no '.join(missing)}: a preference needs a prompt, a chosen "
                         "and a rejected answer")
    if pair["chosen"] == pair["rejected"]:
        raise ValueError(f"pairs[{number}] has one answer as chosen and as rejected: they must differ")
    turns, _ = render_prompt(tokenizer, pair["prompt"], pair.get("system"))
    said = {key: [{"role": "assistant", "content": pair[key]}] for key in ("chosen", "rejected")}
    return {"prompt": turns, **said}


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

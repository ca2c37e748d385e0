"""Fine-tune an organism through a few added parameters, and see whether it stays safe: Table 3 (notebook 06)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from math import isfinite

import pandas
import torch
from torch import nn
from transformers import PreTrainedModel

from ..arguments import shown
from ..materials import study
from ..training import peft_package
from .arms import PeftArm
from .finetuning_arms import Arms
from .finetuning_attack import LOSS_ON, Attack, target
from .finetuning_tables import differences

METHODS = (PeftArm.LORA, PeftArm.ADAPTER, PeftArm.PREFIX)
_SMALL = {PeftArm.LORA: (3e-3, 1e-2, 3e-2), PeftArm.ADAPTER: (1e-1, 3e-1, 1.0), PeftArm.PREFIX: (3e-2, 1e-1, 3e-1)}
_LARGE = {PeftArm.LORA: (3e-4, 1e-3, 3e-3), PeftArm.ADAPTER: (3e-3, 1e-2, 3e-2), PeftArm.PREFIX: (3e-3, 1e-2, 3e-2)}
RATES = {"tiny": _SMALL, "organism": _SMALL, "smollm": _LARGE, "paper": _LARGE}
"""Scale -> method -> learning rates that are tried: of checkpoints those of Qi et al. 2023, and on both sides of
them. What trains is of another kind in each method, so their rates are orders apart."""
ATTACKS = ("benign", "new")


def methods_for(model: PreTrainedModel) -> tuple[str, ...]:
    """Those of `METHODS` that can be had for a model: the package peft knows LLaMA-Adapter for a few families only.

    *Shown in:* 06_compare_peft.
    """
    from peft.tuners.adaption_prompt.config import TRANSFORMERS_MODEL_CONFIG as families

    return tuple(method for method in METHODS if method != PeftArm.ADAPTER or model.config.model_type in families)


def adapted(model: PreTrainedModel, method: str, seed: int = 0) -> nn.Module:
    """A copy of `model`, its own parameters frozen, with those of a PEFT method of `METHODS` to train.

    seed   Draws the new parameters.

    LoRA and LLaMA-Adapter begin as the model itself, prefix tuning with random keys and values before the prompt.
    Raises ValueError for a method that is none of these, or where the package peft is missing.
    Source: settings of Qi et al. 2023, which the paper's Table 3 takes over.   Departs: the adapter is in all but the
    first sixteenth of the blocks, at least one (30 of 32 there), and dropout is 0.

    *Shown in:* 06_compare_peft.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown: choose one of {', '.join(METHODS)}")
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is on its way out
        return peft_package().get_peft_model(deepcopy(model), _config(method, model)).eval()


def _config(method: str, model: PreTrainedModel):
    peft, blocks, causal = peft_package(), model.config.get_text_config().num_hidden_layers, {"task_type": "CAUSAL_LM"}
    if method == PeftArm.LORA:
        has_both = {"q_proj", "v_proj"} <= {name.rpartition(".")[2] for name, _ in model.named_modules()}
        targets = ["q_proj", "v_proj"] if has_both else None  # None: those that peft knows for the family
        return peft.LoraConfig(r=8, lora_alpha=32, target_modules=targets, **causal)
    if method == PeftArm.ADAPTER:
        return peft.AdaptionPromptConfig(adapter_len=10, adapter_layers=blocks - max(1, blocks // 16), **causal)
    return peft.PrefixTuningConfig(num_virtual_tokens=30, **causal)


def size(model: nn.Module) -> int:
    """How many entries of a model train.

    >>> from torch import nn
    >>> from ssah_core.studies.peft_attack import size
    >>> size(nn.Linear(3, 2)), size(nn.Linear(3, 2).requires_grad_(False))
    (8, 0)

    *Shown in:* 06_compare_peft.
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


# -- learning rates, by training loss --------------------------------------------------------------------


@study("peft/rates", version=2)
def rates(seed: int, scale: str, method: str, loss: float,
          checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """A method's loss on new tasks after `Attack.steps`, at each of its `RATES`: rows with `method`, `lr`, `metric`
    "loss", `value` (nats per token), `parameters` (that train), `chosen`.

    loss   Of full fine-tuning after as many steps. The rate whose loss comes nearest is `chosen`, for all data.

    The benign attack could not tell: the model knows its answers, so any rate's loss is at the floor. A rate at which
    training diverges is left out. Raises ValueError where it does at all of them.

    *Shown in:* 06_compare_peft.
    """
    subject = target(seed, scale, checkpoints)
    start = partial(adapted, subject.model, method, seed)
    fights = [Attack(subject, "new", rate=lr) for lr in RATES[scale][method]]
    found = {fight.lr: fight.loss(fight.run(checks=(fight.steps,), model=start()).model) for fight in fights}
    found = {lr: value for lr, value in found.items() if isfinite(value)}
    if not found:
        raise ValueError(f"{method} diverges at each of its learning rates, {shown(RATES[scale][method])}: add smaller "
                         "ones to ssah_core.studies.peft_attack.RATES")
    _, best = min((abs(value - loss), lr) for lr, value in found.items())
    about = {"seed": seed, "method": method, "parameters": size(start()), "metric": "loss", "n": LOSS_ON,
             "judge": "none"}
    return [{**about, "lr": lr, "value": value, "chosen": lr == best} for lr, value in found.items()]


# -- arms, on test prompts ------------------------------------------------------------------------------


@study("peft", version=2)
def compared(seed: int, scale: str, attack: str, rates: Mapping[str, float], losses: Sequence[float],
             checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """ASR and utility along a fine-tuning attack through each method: rows as those of `attacked`, from step 0.

    rates    Method -> learning rate, as the function `rates` found it; other methods are left out.
    losses   Of full fine-tuning after each dose: a method is examined where it first has that loss. Where it never has,
             `reached` is false, and it cannot be compared.

    Source: the paper's Table 3.

    *Shown in:* 06_compare_peft.
    """
    subject, rows = target(seed, scale, checkpoints), []
    for method in (method for method in METHODS if method in rates):
        fight, start = Attack(subject, attack, rate=rates[method]), adapted(subject.model, method, seed)
        arms = Arms(fight, losses=dict(zip(fight.doses, losses, strict=True)), by_loss=True)
        arms.examine(method, 1.0, 0, 0, subject.but(model=start), fight.loss(start))
        arms.train(method, lambda model: nullcontext(), 1.0, model=start)
        rows += [{"seed": seed, "attack": attack, "order": 0, "lr": fight.lr, **row} for row in arms.rows]
    return rows


def as_records(table: pandas.DataFrame) -> pandas.DataFrame:
    """Every arm against every other, organism by organism, with the id under which a claim reads it.

    table   Rows of `attacked` and `compared`, of `PeftArm`.

    `value` is the difference in points, "table3/<attack>/<arm>_vs_<other>/<metric>", at doses that both reached.

    *Shown in:* 06_compare_peft.
    """
    return differences(table, PeftArm, lambda row: "table3/" + row.attack)

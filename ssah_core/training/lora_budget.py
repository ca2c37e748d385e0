"""LoRA to hold a budget of units against: as many parameters everywhere, or in those units alone."""

from __future__ import annotations

import warnings
from copy import deepcopy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from ..freezing import Split, split_weights
from ..units import UnitMap, UnitMask


def peft_package():
    """The module `peft`. Raises ValueError where the package is missing.

    >>> peft_package().__name__
    'peft'

    *Shown in:* 06_compare_peft.
    """
    try:
        import peft
    except ImportError as error:
        raise ValueError("the package peft is missing, which LoRA, adapters and prefixes need: "
                         "run pip install 'ssah[peft]'") from error
    return peft


def budget(model: PreTrainedModel, mask: UnitMask) -> int:
    """Number of weights that `train_only(model, mask)` trains.

    >>> model, _ = ssah.load_organism(scale="tiny", progress=False)
    >>> sizes = ssah.UnitMap(model).sizes
    >>> few = ssah.UnitMask({site: torch.arange(size) < 4 * site.startswith("mlp") for site, size in sizes.items()})
    >>> budget(model, few), 4 * (3 * 32) * 2  # units a block; gate, up and down, with 32 weights each; blocks
    (768, 768)

    *Shown in:* 07_spend_alignment_budget.
    """
    state = model.state_dict()
    return sum(len(split.trained) * state[split.weight].shape[1 - split.axis] for split in _splits(model, mask))


def lora(model: PreTrainedModel, parameters: int, seed: int = 0) -> nn.Module:
    """A copy of `model` with LoRA on every linear map of its blocks, of the rank that comes nearest to `parameters`.

    seed   Draws the first weights of A; B begins at 0.

    Source: Hu et al. 2021.

    >>> model, _ = ssah.load_organism(scale="tiny", progress=False)
    >>> lora(model, parameters=3000).num_parameters(only_trainable=True)
    3264

    *Shown in:* 07_spend_alignment_budget.
    """
    width = sum(sum(module.weight.shape) for name, module in model.named_modules()
                if isinstance(module, (nn.Linear, Conv1D)) and name != "lm_head")
    return _adapted(model, max(1, round(parameters / width)), "all-linear", seed)


def lora_within(model: PreTrainedModel, mask: UnitMask, parameters: int, seed: int = 0) -> nn.Module:
    """The same, but what it adds to a weight is zero outside the rows and columns of the units in `mask`.

    Rows of B, or columns of A, that belong to other units are 0 and stay so: they have no gradient.

    >>> model, _ = ssah.load_organism(scale="tiny", progress=False)
    >>> units = ssah.UnitMap(model)
    >>> few = ssah.UnitMask({site: torch.arange(size) < 4 for site, size in units.sizes.items()})
    >>> adapted = lora_within(model, few, parameters=2000)
    >>> a = adapted.base_model.model.model.layers[0].mlp.down_proj.lora_A["default"].weight  # [rank, unit]
    >>> a.abs().sum(0).nonzero().flatten().tolist()
    [0, 1, 2, 3]

    *Shown in:* 07_spend_alignment_budget.
    """
    splits, state, readers = _splits(model, mask), model.state_dict(), {site.reader for site in UnitMap(model)}
    width = sum(len(split.trained) + state[split.weight].shape[1 - split.axis] for split in splits)
    names = sorted({split.weight.rsplit(".", 2)[1] for split in splits})
    adapted = _adapted(model, max(1, round(parameters / width)), names, seed)
    for split in splits:
        name = split.weight.removesuffix(".weight")
        module = adapted.base_model.model.get_submodule(name)
        # A is [rank, in] and B [out, rank], also beside a weight that is kept transposed, as GPT-2's are.
        added, axis = (module.lora_A, 1) if name in readers else (module.lora_B, 0)
        _hold_at_zero(added["default"].weight, axis, split.frozen)
    return adapted


def _splits(model: PreTrainedModel, mask: UnitMask) -> list[Split]:
    return split_weights(model, ~mask, "any", "freeze")


def _adapted(model: PreTrainedModel, rank: int, targets: str | list[str], seed: int) -> nn.Module:
    peft = peft_package()
    is_transposed = any(isinstance(module, Conv1D) for module in model.modules())
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM",
                               fan_in_fan_out=is_transposed)
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(deepcopy(model), settings).eval()


def _hold_at_zero(weight: Tensor, axis: int, index: Tensor) -> None:
    index = index.to(weight.device)
    with torch.no_grad():
        weight.index_fill_(axis, index, 0)
    weight.register_hook(lambda gradient: gradient.index_fill(axis, index.to(gradient.device), 0))

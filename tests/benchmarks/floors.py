"""What a step that trains a part of a model costs at least, over one that trains all of it: by counting."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ssah_core import train_only

from .pairs import seconds
from .shapes import model_of, random_mask

SHAPE, CHATS, TOKENS = "Llama-83M", 2, 128
OF_UNITS = ("v_proj", "o_proj", "mlp")
"""Matrices that hold units."""
FIRST = tuple(f"layers.0.self_attn.{name}_proj" for name in "qkv")
"""Matrices whose input does not depend on what trains, unless the embedding does."""


def sizes() -> dict[str, int]:
    """Weight -> how many entries it has."""
    with torch.device("meta"):
        return {name: weight.numel() for name, weight in model_of(SHAPE).named_parameters()}


def total(weights: dict[str, int], names: tuple[str, ...]) -> int:
    return sum(size for name, size in weights.items() if any(part in name for part in names))


def products(share: float) -> float:
    """Multiplications of a step that trains a share of the units over those of an ordinary one.

    Each matrix is multiplied forward, back to its input, and back to itself; where a part trains, the last is of that
    part alone, and the first block's q, k and v give nothing back to their input.
    """
    weights = {name: size for name, size in sizes().items() if "embed" not in name and "norm" not in name}
    whole = sum(weights.values())
    return (2 * whole - total(weights, FIRST) + share * total(weights, OF_UNITS)) / (3 * whole)


def least_time(share: float, optimizer: float) -> float:
    """Time of such a step over an ordinary one, of which the optimiser has a share: its products, and of what the
    optimiser does that for the entries that train."""
    weights = sizes()
    return (1 - optimizer) * products(share) + optimizer * share * total(weights, OF_UNITS) / sum(weights.values())


def optimizer_share(step: Callable[[], None]) -> float:
    """Share of a step's seconds that its optimiser takes: median of five."""
    shares = []
    for _ in range(5):
        spent: list[float] = []
        began = register_optimizer_step_pre_hook(lambda *given, spent=spent: spent.append(-time.perf_counter()))
        ended = register_optimizer_step_post_hook(lambda *given, spent=spent: spent.append(time.perf_counter()))
        with ExitStack() as undo:
            undo.callback(began.remove)
            undo.callback(ended.remove)
            whole = seconds(step)
        shares.append(sum(spent) / whole)
    return median(shares)


def least_memory(share: float) -> float:
    """Bytes of such a step over those of an ordinary one, at the end of its forward pass or of its backward pass,
    where they are more: weights and two moments of 4 bytes each, and activations or gradients.

    Of a trained part there are the weights, its own copy, its moments and its gradient. Activations are what autograd
    keeps of the forward pass.
    """
    model = model_of(SHAPE).train()
    weights, kept = sum(p.numel() for p in model.parameters()), activations(model)
    with train_only(model, random_mask(model, share)):
        part, kept_now = sum(p.numel() for p in model.parameters() if p.requires_grad), activations(model)
    whole = max(4 * 3 * weights + kept, 4 * 4 * weights)
    return max(4 * (weights + 3 * part) + kept_now, 4 * (weights + 4 * part)) / whole


def activations(model: nn.Module) -> int:
    """Bytes that autograd keeps of a forward pass, weights apart."""
    ids = torch.zeros(CHATS, TOKENS, dtype=torch.int64)
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(input_ids=ids, labels=ids, use_cache=False)
    return sum(storage.nbytes() for place, storage in kept.items() if place not in own)

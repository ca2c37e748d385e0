"""Whether a model's units are where `UnitMap` says, tried out on the model itself.

Names and shapes cannot tell a fused weight that goes q, k, v head by head from one that goes all q, all k, all v.
So some units of every site are removed and fed otherwise, and what changes is held against what should.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from ..models import evaluating
from .masks import UnitMask
from .unit_map import Site, Slice, UnitMap

TOKENS = 5
TRIED = 4
"""Units that are tried at each site: the most active one of every quarter, so that they are of different heads."""
Call = tuple[tuple, dict]
"""What a block is called with: its args and kwargs."""


@torch.no_grad()
def check_units(model: PreTrainedModel) -> None:
    """Try out on a random input that the units of `model` are where `UnitMap(model)` says they are.

    For some units of every site:
    - without unit j, the reader's output changes by exactly its column times its activation;
    - with the weight entries that feed unit j doubled (`UnitMap.slices`), the activation of unit j changes and, under
      grouped queries, those of the units that share its row, and that of no other unit of the site.

    Costs about as much as twenty forward passes over a few tokens. The model is not changed. It cannot be seen in this
    way that a family's row leaves out one of several weights that feed a unit.
    Raises ValueError naming the site, the unit and what went otherwise.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> print(ssah.check_units(model))  # nothing to say: they are
    None

    *Shown in:* 10_real_checkpoints.
    """
    units = UnitMap(model)
    with evaluating(model):
        calls = _record(model, units)
        for site in units:
            block = units.blocks[site.block]
            before = _activations(model, site, block, calls[block], {})
            tried = _most_active(before)
            _check_reader(model, site, tried, before)
            for unit in tried:
                _check_writers(model, units, site, unit, before, calls[block])


def _record(model: PreTrainedModel, units: UnitMap) -> dict[str, Call]:
    """What every block is called with for a few random tokens, by its name, so that it can run alone."""
    calls: dict[str, Call] = {}
    hooks = [model.get_submodule(name).register_forward_pre_hook(
        lambda module, args, kwargs, name=name: calls.update({name: (args, kwargs)}), with_kwargs=True)
        for name in units.blocks]
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(vocabulary, (1, TOKENS), generator=torch.Generator().manual_seed(0)).to(model.device)
    try:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _activations(model: nn.Module, site: Site, block: str, call: Call, weights: Mapping[str, Tensor]) -> Tensor:
    """Activations [token, unit] of a site when its block runs alone, with other `weights` in place of its own."""
    seen: list[Tensor] = []
    hook = model.get_submodule(site.reader).register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        functional_call(model.get_submodule(block), dict(weights), *call)
    finally:
        hook.remove()
    return seen[0].flatten(0, -2)


def _most_active(activations: Tensor) -> list[int]:
    """The unit with the largest activation in every part of the site; none where all are 0."""
    size = activations.abs().amax(0)  # [unit]
    parts = torch.arange(len(size)).tensor_split(min(TRIED, len(size)))
    return [int(part[size[part].argmax()]) for part in parts if size[part].any()]


def _check_reader(model: nn.Module, site: Site, tried: list[int], activations: Tensor) -> None:
    """In float64, so that one unit among thousands is seen."""
    reader, x = model.get_submodule(site.reader), activations.double()  # [token, unit]
    wide: dict[str, Any] = {name: value.double() for name, value in reader.named_parameters()}
    whole = functional_call(reader, wide, (x,))
    for unit in tried:
        without = x.clone()
        without[:, unit] = 0
        lost = whole - functional_call(reader, wide, (without,))
        share = x[:, unit, None] * wide["weight"].select(site.axis, unit)  # [token, out]
        rounding = 1e-9 * float(whole.abs().max())
        if lost.shape != share.shape or not torch.allclose(lost, share, rtol=1e-6, atol=rounding):
            _fail(site, unit, f"without it, the output of {site.reader} does not fall by its column times its "
                              "activation")


def _check_writers(model: nn.Module, units: UnitMap, site: Site, unit: int, before: Tensor, call: Call) -> None:
    alone = {name: torch.zeros(size, dtype=torch.bool) for name, size in units.sizes.items()}
    alone[site.name][unit] = True
    fed_by = [part for part in units.slices(UnitMask(alone)) if part.weight != f"{site.reader}.weight"]
    block = units.blocks[site.block]
    doubled = {part.weight.removeprefix(f"{block}."): _doubled(model, part) for part in fed_by}
    after = _activations(model, site, block, call, doubled)
    noise = 8 * torch.finfo(before.dtype).eps * before.abs().amax(0)  # [unit]
    changed = ((after - before).abs().amax(0) > noise).cpu()
    sharing = torch.stack([writer.rows == writer.rows[unit] for writer in site.writers]).any(0)
    if not torch.equal(changed, sharing):
        _fail(site, unit, f"the entries of {' and '.join(part.weight for part in fed_by)} that should feed "
                          f"{_listed(sharing)} feed {_listed(changed)}")


def _doubled(model: nn.Module, part: Slice) -> Tensor:
    weight = model.get_parameter(part.weight)
    index = part.index.to(weight.device)
    return weight.index_add(part.axis, index, weight.index_select(part.axis, index))


def _listed(units: Tensor) -> str:
    numbers = torch.nonzero(units).flatten().tolist()
    return f"unit {', '.join(map(str, numbers[:6]))}{' ...' if len(numbers) > 6 else ''}" if numbers else "no unit"


def _fail(site: Site, unit: int, what: str) -> None:
    raise ValueError(f"site {site.name!r}, unit {unit}: {what}. The row of ssah_core.units.families.FAMILIES that this "
                     "model's names match is not its own: add one before it")

"""Whether a model's units are where `UnitMap` says, tried out on the model itself.

Names and shapes cannot tell a fused weight that goes q, k, v head by head from one that goes all q, all k, all v.
So some units of every site are removed and fed otherwise, and what changes is held against what should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.func import functional_call
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from ..models import evaluating, few_blocks, uncompiled
from .masks import UnitMask
from .unit_map import Site, Slice, UnitMap

TOKENS = 5
VOCABULARY, WIDTH = 256, 256
"""Most tokens, and most units of an MLP, of a model that is made to try an architecture on."""
OTHERWISE = 16
"""How large the numbers are that are added to a unit's weights, in standard deviations of the whole weight."""
TRIED = 4
"""Units that are tried at each site: the most active one of every quarter, so that they are of different heads."""
Call = tuple[tuple, dict]
"""What a block is called with: its args and kwargs."""


_RIGHT: set[str] = set()
"""Architectures on which `check_units` has found nothing wrong: class and config."""
_KNOWN: WeakSet[nn.Module] = WeakSet()
"""Models whose architecture is among these."""


def known_units(model: nn.Module) -> UnitMap:
    """`UnitMap(model)`, with `check_units` passed: once a process and architecture, before anything is done with units.

    It is run on a small random model of its config, in which nothing is zero that training would have filled, and on
    the model itself, unless that is offloaded, sharded or has hooks. A model that is none of transformers' is taken at
    the word of its names. Raises ValueError as both do.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> known_units(model).sites == UnitMap(model).sites
    True
    """
    units = UnitMap(model)
    inner = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    if inner is not None and inner not in _KNOWN:
        check_architecture(inner.config)
        if _is_at_hand(inner):
            _check_once(type(inner), inner.config, lambda: inner)
        _KNOWN.add(inner)
    return units


def check_architecture(config: PreTrainedConfig) -> None:
    """`check_units` of a small random model of a config: two blocks, with few tokens and narrow MLPs; once a process.

    Raises ValueError as that does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> check_architecture(model.config)
    """
    small = few_blocks(config.get_text_config(), 2)
    small.vocab_size, small.pad_token_id = min(small.vocab_size, VOCABULARY), None
    if isinstance(getattr(small, "intermediate_size", None), int):
        small.intermediate_size = min(small.intermediate_size, WIDTH)
    if type(small) in MODEL_FOR_CAUSAL_LM_MAPPING:  # not so of a language model that is only ever part of another
        _check_once(type(small), small, lambda: _random(small))


def _check_once(kind: type, config: PreTrainedConfig, make: Callable[[], PreTrainedModel]) -> None:
    key = f"{kind.__module__}.{kind.__qualname__} {config.to_json_string()}"
    if key not in _RIGHT:
        check_units(make())
        _RIGHT.add(key)


def _is_at_hand(model: PreTrainedModel) -> bool:
    return not (any(weight.is_meta or isinstance(weight, DTensor) for weight in model.parameters())
                or any(module._forward_hooks or module._forward_pre_hooks or hasattr(module, "_hf_hook")
                       for module in model.modules()))


@torch.no_grad()
def _random(config: PreTrainedConfig) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager",
                                                trust_remote_code=False).eval()
        for weight in made.parameters():
            if weight.dim() < 2:  # biases, gates, norms: they begin as zeros or ones, which hide what they do
                weight.add_(0.3 * torch.randn_like(weight))
    return made


@torch.no_grad()
def check_units(model: PreTrainedModel) -> None:
    """Try out on a random input that the units of `model` are where `UnitMap(model)` says they are.

    Whatever scores, removes or freezes units has this done, once for each architecture.

    For some units of every site:
    - without unit j, the reader's output changes by exactly its column times its activation;
    - with other weight entries to feed unit j (`UnitMap.slices`), the activation of unit j changes and, under grouped
      queries, those of the units that share its row, and that of no other unit of the site.

    Costs about as much as twenty forward passes over a few tokens. The model is not changed. It cannot be seen in this
    way that a family's row leaves out one of several weights that feed a unit.
    Raises ValueError naming the site, the unit and what went otherwise.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> print(ssah.check_units(model))  # nothing to say: they are
    None

    *Shown in:* 10_real_checkpoints.
    """
    units = UnitMap(model)
    with evaluating(model), uncompiled():
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
    if not seen:
        raise ValueError(f"site {site.name!r}: its {site.reader} is never called, since another module reads its "
                         "weights or a fused kernel takes its place; use the plain modules of transformers")
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
    other = {part.weight.removeprefix(f"{block}."): _fed_otherwise(model, part) for part in fed_by}
    after = _activations(model, site, block, call, other)
    noise = 8 * torch.finfo(before.dtype).eps * before.abs().amax(0)  # [unit]
    changed = ~((after - before).abs().amax(0) <= noise).cpu()  # an overflow is a change
    sharing = torch.stack([writer.rows == writer.rows[unit] for writer in site.writers]).any(0)
    if not torch.equal(changed, sharing):
        _fail(site, unit, f"the entries of {' and '.join(part.weight for part in fed_by)} that should feed "
                          f"{_listed(sharing)} feed {_listed(changed)}")


def _fed_otherwise(model: nn.Module, part: Slice) -> Tensor:
    """A weight with random numbers added to a part of it, many times its own: a large bias must not hide them."""
    weight = model.get_parameter(part.weight)
    index = part.index.to(weight.device)
    like = weight.index_select(part.axis, index)
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)
    return weight.index_add(part.axis, index, OTHERWISE * (float(weight.float().std()) or 1.0) * drawn)


def _listed(units: Tensor) -> str:
    numbers = torch.nonzero(units).flatten().tolist()
    return f"unit {', '.join(map(str, numbers[:6]))}{' ...' if len(numbers) > 6 else ''}" if numbers else "no unit"


def _fail(site: Site, unit: int, what: str) -> None:
    raise ValueError(f"site {site.name!r}, unit {unit}: {what}. The row of ssah_core.units.families.FAMILIES that this "
                     "model's names match is not its own: add one before it")

"""Which entries of a model's weights a set of units freezes: to count them, prove them unchanged, or put them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..arguments import check_choice, check_kind
from ..units import UnitMask, check_mask, known_units
from .report import FrozenChanged, FrozenReport

REST = ("train", "freeze")
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers of as many bytes: equal bits, equal number (-0.0 is not 0.0, and a NaN equals itself)."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which rows (axis 0) or columns (axis 1) of a weight with units are frozen, and which train: int64, sorted.

    >>> Split("model.layers.0.mlp.down_proj.weight", 1, torch.tensor([0, 2]), torch.tensor([1])).partial
    True
    """

    weight: str
    axis: int
    frozen: Tensor
    trained: Tensor

    @property
    def partial(self) -> bool:
        return bool(len(self.frozen) and len(self.trained))


def split_weights(model: nn.Module, mask: UnitMask, shared: str, rest: str) -> list[Split]:
    """Every weight that holds units, split into frozen and trained entries; `mask` holds the frozen units.

    Raises ValueError if `shared` or `rest` is unknown, the mask is of another model, or a weight cannot be held.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> mask = UnitMask({site: torch.arange(size) < 2 for site, size in ssah.UnitMap(model).sizes.items()})
    >>> [split.frozen.tolist() for split in split_weights(model, mask, "any", "train") if "mlp.down" in split.weight][0]
    [0, 1]
    """
    check_choice(REST, rest=rest)
    check_mask(mask, "freezing")
    units = known_units(model)
    chosen = {part.weight: part.index for part in units.slices(mask, shared)}
    everything = UnitMask({site: torch.ones_like(units_of_site) for site, units_of_site in mask.sites.items()})
    state, splits = model.state_dict(), []
    for part in units.slices(everything, shared):
        weight_of(model, part.weight)
        size = state[part.weight].shape[part.axis]  # of the whole weight, also where it is compact
        frozen = torch.full((size,), rest == "freeze")  # a fused weight holds q and k rows, which belong to no unit
        frozen[part.index] = False
        frozen[chosen.get(part.weight, part.index[:0])] = True
        splits.append(Split(part.weight, part.axis, frozen.nonzero().flatten(), (~frozen).nonzero().flatten()))
    return splits


def differing(a: Tensor, b: Tensor) -> Tensor:
    """Where two tensors of one shape and dtype differ in any bit: bool, shaped as they are.

    >>> differing(torch.tensor([0., 1.]), torch.tensor([-0., 1.])).tolist()
    [True, False]
    """
    return a.view(INTEGERS[a.element_size()]) != b.view(INTEGERS[b.element_size()])


def module_of(model: nn.Module, weight: str) -> nn.Module:
    """The module that a weight's name points into.

    >>> module_of(nn.Sequential(nn.Linear(2, 1)), "0.weight")
    Linear(in_features=2, out_features=1, bias=True)
    """
    return model.get_submodule(weight.rpartition(".")[0])


def weight_of(model: nn.Module, name: str) -> nn.Parameter:
    """A weight that holds units. Raises ValueError if it is not its module's own floating-point parameter, at hand.

    >>> weight_of(nn.Sequential(nn.Linear(2, 1)), "0.weight").shape
    torch.Size([1, 2])
    """
    module = module_of(model, name)
    weight = module._parameters.get("weight")
    if weight is None:
        raise ValueError(f"{name} is no plain parameter of its {type(module).__name__}, so what trains beside it "
                         "(LoRA, a parametrisation) would change its units: merge or remove that first")
    if not weight.is_floating_point() or weight.is_meta:
        what = "offloaded" if weight.is_meta else f"quantised to {weight.dtype}"
        raise ValueError(f"{name} is {what}, where single units cannot be held: load the model whole, in float32, "
                         "bfloat16 or float16")
    return weight


def check_unreplaced(part) -> None:
    """Raise ValueError if a part's module was replaced by now (an adapter was put round it), holds another parameter,
    or the same in another precision.

    >>> from types import SimpleNamespace as Named
    >>> model = nn.Sequential(nn.Linear(2, 1))
    >>> check_unreplaced(Named(name="0.weight", model=model, module=model[0], parameter=model[0].weight,
    ...                        dtype=torch.float32))
    """
    is_same = (module_of(part.model, part.name) is part.module and part.parameter.dtype == part.dtype
               and part.module._parameters.get("weight") is part.parameter)
    if not is_same:
        raise ValueError(f"{part.name} was replaced, or changed from {part.dtype}, while its units were frozen: "
                         "convert, wrap, shard or adapt the model before the context")


def check_not_empty(mask: UnitMask, caller: str, rest: str = "train") -> None:
    """Raise ValueError for what is no mask, and for a mask without units, unless what belongs to none is frozen.

    >>> check_not_empty(UnitMask({"mlp.0": torch.tensor([False])}), "freeze")
    Traceback (most recent call last):
    ValueError: mask holds no unit, so freeze has nothing to do: pass a mask with units
    """
    check_mask(mask, caller)
    if not mask.count and rest != "freeze":
        raise ValueError(f"mask holds no unit, so {caller} has nothing to do: pass a mask with units")


def rewind(model: nn.Module, original_state: Mapping[str, Tensor] | nn.Module, mask: UnitMask,
           shared: str = "any") -> None:
    """Put the units of `mask` back to where they were before `model` was trained; all else stays as trained.

    original_state   The start: a `state_dict()` copied before training, or a model of its own.
    shared           Under grouped queries: a v row is put back if "any" or if "all" of its G units are in `mask`.

    This is what Wei et al. (2024) did instead of freezing: training itself saw no mask. Call it outside `freeze` and
    `train_only`. Raises ValueError if the mask is empty, or the mask or the state is of another model.
    Source: Wei et al. 2024, the control of the paper's Table 2.   Departs: none known.

    >>> import copy
    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> start, sizes = copy.deepcopy(model.state_dict()), ssah.UnitMap(model).sizes
    >>> scu = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in sizes.items()})
    >>> model.model.layers[0].mlp.down_proj.weight.data.add_(1)[0, 0].dtype  # "training"
    torch.float32
    >>> ssah.rewind(model, start, scu)
    >>> (model.model.layers[0].mlp.down_proj.weight == start["model.layers.0.mlp.down_proj.weight"])[0, :3].tolist()
    [True, True, False]

    *Shown in:* 06_compare_peft.
    """
    check_not_empty(mask, "rewind")
    parts = [(split, weight_of(model, split.weight).detach()) for split in split_weights(model, mask, shared, "train")]
    state = _state(original_state, "original_state")
    originals = [_counterpart(state, split.weight, weight, "original_state") for split, weight in parts]
    for (split, weight), original in zip(parts, originals, strict=True):
        back = original.index_select(split.axis, split.frozen.to(original.device))
        weight.index_copy_(split.axis, split.frozen.to(weight.device), back.to(weight.device))


def check_frozen(before: nn.Module | Mapping[str, Tensor], after: nn.Module, mask: UnitMask, shared: str = "any",
                 rest: str = "train") -> FrozenReport:
    """Prove that training changed no frozen entry: compare every entry of every parameter, bit for bit.

    before   The start: a `state_dict()` copied before training, or a model of its own.
    after    The trained model.
    mask     The frozen units; `shared` and `rest` as they were given to `freeze`. After `train_only(model, chosen)`
             pass `~chosen` and `rest="freeze"`.

    Raises FrozenChanged, a ValueError that names the first weight with changed frozen entries and has the counts; and
    ValueError if `before` is of another model, in another precision, or shares its memory with `after` (a
    `state_dict()` alone is no copy).

    >>> import copy
    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> start, sizes = copy.deepcopy(model.state_dict()), ssah.UnitMap(model).sizes
    >>> scu = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in sizes.items()})
    >>> report = ssah.check_frozen(start, model, scu)
    >>> report.frozen > 0, report.frozen_changed, report.trainable_changed  # not trained yet
    (True, 0, 0)

    *Shown in:* 05_freeze_safety_units.
    """
    check_kind(nn.Module, "pass the trained model", after=after)
    splits = {split.weight: split for split in split_weights(after, mask, shared, rest)}
    old, new = _state(before, "before"), after.state_dict()
    frozen, frozen_changed, entries, changed, first = 0, 0, 0, 0, None
    for name, _ in after.named_parameters():
        differs = differing(_counterpart(old, name, new[name], "before").to(new[name].device), new[name])
        held = _frozen_part(differs, splits.get(name), rest)
        frozen, frozen_changed = frozen + held.numel(), frozen_changed + int(held.sum())
        entries, changed = entries + differs.numel(), changed + int(differs.sum())
        first = first or (name if held.any() else None)
    report = FrozenReport(frozen, frozen_changed, entries - frozen, changed - frozen_changed)
    if frozen_changed:
        raise FrozenChanged(report, first)
    return report


def _frozen_part(entries: Tensor, split: Split | None, rest: str) -> Tensor:
    if split is not None:
        return entries.index_select(split.axis, split.frozen.to(entries.device))
    return entries if rest == "freeze" else entries[:0]


def _state(source: nn.Module | Mapping[str, Tensor], argument: str) -> Mapping[str, Tensor]:
    check_kind((nn.Module, Mapping), "pass a state_dict() copied before training, or a model", **{argument: source})
    return source.state_dict() if isinstance(source, nn.Module) else source


def _counterpart(state: Mapping[str, Tensor], name: str, weight: Tensor, argument: str) -> Tensor:
    """The entry of `state` that belongs to a weight of the model; refuses what cannot be its start."""
    other = state.get(name)
    if not isinstance(other, Tensor) or other.shape != weight.shape or other.dtype != weight.dtype:
        found = "missing" if not isinstance(other, Tensor) else f"{other.dtype} of shape {tuple(other.shape)}"
        raise ValueError(f"{argument}[{name!r}] is {found} but {weight.dtype} of shape {tuple(weight.shape)} in the "
                         "model: pass the state that this model started from, in its precision")
    if other.data_ptr() == weight.data_ptr():
        raise ValueError(f"{argument} shares its memory with the model, so it changed along: pass a copy made before "
                         "training, such as copy.deepcopy(model.state_dict())")
    return other

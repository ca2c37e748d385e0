"""Linear maps of which some rows or columns train: only those have a gradient and optimiser state.

While such a map is compact, its parameter named "weight" holds the trained rows or columns and nothing else, and
`whole` is the full matrix that it computes with. Results, names and saved states are those of the ordinary map, and
so is `module.weight` for whoever reads it; but the weight gradient is computed for the trained part alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from .lines import put_lines
from .weight_slices import Split, check_unreplaced, differing, module_of

OWN = ("whole", "trained", "axis", "written", "ran", "ordinary")
"""Attributes of a compact map that an ordinary one has not."""


class _PartOfWeight(torch.autograd.Function):
    """x W^T + b with the gradient of rows (axis 0) or columns (axis 1) `index` of W [out, in], and of no others."""

    @staticmethod
    def forward(ctx, x, part, bias, matrix, index, axis, transposed):
        ctx.axis, ctx.transposed, ctx.biased = axis, transposed, bias is not None
        ctx.save_for_backward(x.index_select(-1, index) if axis == 1 else x, matrix, index)
        return F.linear(x, matrix.to(x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, matrix, index = ctx.saved_tensors
        dx = dy @ matrix.to(dy.dtype) if ctx.needs_input_grad[0] else None
        dbias = dy.flatten(0, -2).sum(0) if ctx.biased and ctx.needs_input_grad[2] else None
        dpart = None
        if ctx.needs_input_grad[1]:
            dy, x = (dy.index_select(-1, index) if ctx.axis == 0 else dy).flatten(0, -2), x.flatten(0, -2)
            dpart = x.T @ dy if ctx.transposed else dy.T @ x
        return dx, dpart, dbias, None, None, None, None


class _Compact:
    """What a compact map does differently; `axis` counts in the weight as the module stores it."""

    transposed = False

    @property
    def weight(self) -> Tensor:
        """The whole matrix, with the trained part as it is now. (`parameters()` give that part.)"""
        self.settle()
        return self.whole

    @torch.no_grad()
    def settle(self) -> None:
        """Write the trained part, as it is now, into the whole matrix: not its optimiser alone may have changed it, but
        averages that are swapped in, or an optimiser's `eval()`.

        Through `data`, since a pass may come between another and its way back, which would take the write for a change.
        """
        put_lines(self.whole.data, self.axis, self.trained, self.part.data.to(self.whole))

    @torch.no_grad()
    def write(self, part: Tensor) -> None:
        """Write a trained part into the whole matrix, as a change that a pass before it must notice."""
        put_lines(self.whole, self.axis, self.trained, part.to(self.whole))
        self.written = self.whole, self.whole._version

    @property
    def part(self) -> nn.Parameter:
        """The trained rows or columns."""
        part = self._parameters["weight"]
        if part.shape[self.axis] != len(self.trained):
            raise ValueError(f"a weight of which {len(self.trained)} rows or columns train was replaced by one of "
                             f"shape {tuple(part.shape)}: convert, wrap or shard the model before train_only")
        return part

    def forward(self, x: Tensor) -> Tensor:
        self.ran = True
        self.settle()
        matrix, axis = (self.whole.T, 1 - self.axis) if self.transposed else (self.whole, self.axis)  # [out, in]
        bias, kind = self.bias, x.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            x, bias = x.to(dtype), None if bias is None else bias.to(dtype)
        if not torch.is_grad_enabled():
            return F.linear(x, matrix.to(x.dtype), bias)
        return _PartOfWeight.apply(x, self.part, bias, matrix, self.trained, axis, self.transposed)

    def __deepcopy__(self, memo: dict) -> nn.Module:
        """An ordinary map with the whole matrix as it is: what is copied is a model, not the way in which it trains."""
        made = memo[id(self)] = self.ordinary.__new__(self.ordinary)
        state = {name: value for name, value in vars(self).items() if name not in OWN}
        weight = nn.Parameter(self.weight.detach().clone(), self.part.requires_grad)
        state["_parameters"] = {**self._parameters, "weight": weight}
        state["_buffers"] = {name: value for name, value in self._buffers.items() if name not in OWN}
        state["_non_persistent_buffers_set"] = self._non_persistent_buffers_set - set(OWN)
        vars(made).update(copy.deepcopy(state, memo))
        return made

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.weight

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        name = f"{prefix}weight"
        if name in state_dict:  # a copy made by load_state_dict: replacing an entry does not reach the caller
            state_dict[name] = self._take(state_dict[name], name)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @torch.no_grad()
    def _take(self, given: Tensor, name: str) -> Tensor:
        """Read a whole matrix whose frozen entries are those of this one; returns its trained part."""
        if given.shape != self.whole.shape:
            raise ValueError(f"{name} has shape {tuple(given.shape)} in the state and {tuple(self.whole.shape)} in the "
                             "model: load a state of this model")
        part = given.to(self.whole).index_select(self.axis, self.trained)
        if differing(self.whole.index_copy(self.axis, self.trained, part), given.to(self.whole)).any():
            raise ValueError(f"the state would change frozen entries of {name}: load other weights before train_only, "
                             "and resume with the mask and the start of the first run")
        self.write(part)
        return part


class _CompactLinear(_Compact, nn.Linear):
    pass


class _CompactConv1D(_Compact, Conv1D):
    transposed = True  # its weight is [in, out]


def compact_class(module: nn.Module) -> type | None:
    """The compact class of a module, None if ssah knows none that computes what it does.

    >>> compact_class(nn.Linear(2, 1)) is not None, compact_class(nn.Embedding(2, 1))
    (True, None)
    """
    if "forward" in vars(module):  # offloading and wrappers put their own forward on the instance
        return None
    if type(module) is Conv1D:
        return _CompactConv1D
    return _CompactLinear if type(module) is nn.Linear or type(module).__name__ == "FalconLinear" else None


def _make_compact(module: nn.Module, axis: int, trained: Tensor) -> nn.Parameter:
    """Let only rows (axis 0) or columns (axis 1) `trained` of a module's weight be its parameter; returns that."""
    weight = module.weight
    trained = trained.to(weight.device)
    module.ordinary, module.__class__ = type(module), compact_class(module)
    module.axis, module.ran = axis, False
    module.register_buffer("whole", weight.detach(), persistent=False)  # the weight's own memory, no second copy
    module.register_buffer("trained", trained, persistent=False)
    module._parameters["weight"] = nn.Parameter(weight.detach().index_select(axis, trained), weight.requires_grad)
    module.written = module.whole, module.whole._version
    return module.part


def _make_ordinary(module: nn.Module, weight: nn.Parameter) -> None:
    """Undo `_make_compact`: its class of old again, and `weight`, the parameter of old, with the whole matrix."""
    weight.data, weight.grad = module.whole, None  # the same memory, unless the model was moved to another device
    module._parameters["weight"] = weight
    module.__class__ = module.ordinary
    for name in OWN:
        delattr(module, name)


class Compacted:
    """A module whose weight is compact, and what it was before."""

    def __init__(self, model: nn.Module, split: Split):
        self.model, self.name, self.module = model, split.weight, module_of(model, split.weight)
        self.block = next((n for n in split.weight.split(".") if n.isdecimal()), "")
        self.original, self.dtype = self.module.weight, self.module.weight.dtype
        if self.original._backward_hooks or self.original._post_accumulate_grad_hooks:
            raise ValueError(f"{self.name} has a gradient hook, such as that of an optimiser which steps on the "
                             "way back, and train_only has another parameter there: make it inside the context")
        self.original.grad = None
        self.parameter = _make_compact(self.module, split.axis, split.trained)

    def settle(self) -> None:
        self.module.write(self.parameter)

    def settled(self) -> bool:
        """Whether nobody else has written to the whole matrix. The trained part may be changed by anybody."""
        whole, version = self.module.written
        return self.module.whole is not whole or whole._version == version  # another one: it was moved to a device

    def check(self, held: set[int]) -> None:
        if id(self.original) in held:
            raise ValueError(f"the optimiser holds the whole weight {self.name}, so it was made before train_only was "
                             "entered: make it, or let the Trainer make it, inside the context")
        check_unreplaced(self)


@contextmanager
def compacted(model: nn.Module, split: Split) -> Iterator[Compacted]:
    """Let only the trained part of one weight be a parameter while the context lasts.

    >>> model = nn.Sequential(nn.Linear(3, 1, bias=False))
    >>> with compacted(model, Split("0.weight", 1, torch.tensor([0, 1]), torch.tensor([2]))):
    ...     [tuple(parameter.shape) for parameter in model.parameters()], tuple(model[0].weight.shape)
    ([(1, 1)], (1, 3))
    """
    part = Compacted(model, split)
    try:
        yield part
    finally:
        _make_ordinary(part.module, part.original)

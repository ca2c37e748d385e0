"""Hold units while a model trains, or train them alone: bit for bit, under whatever trains the model.

What is frozen is a set of entries: of every frozen unit the column of its reader and the rows of its writers. Two
ways lead there. `freeze` suits masks that leave most weights to train: the model stays as it is, gradients of frozen
entries are zeroed, and after every optimiser step the entries are copied back. `train_only` suits masks that leave
few: only trained entries are parameters, so only they have gradients and optimiser state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from ..units import UnitMask
from .partial_linear import Compacted, compact_class, compacted
from .weight_slices import Split, check_not_empty, check_unreplaced, differing, module_of, split_weights, weight_of


@contextmanager
def freeze(model: nn.Module, mask: UnitMask, shared: str = "any", rest: str = "train") -> Iterator[nn.Module]:
    """Hold the units of `mask` while the context lasts: whatever trains `model`, their entries stay, bit for bit.

    shared   Under grouped queries G units share one v row. It is frozen if "any" or if "all" of them are.
    rest     What belongs to no unit (q, k, norms, embeddings, biases, lm_head): "train" or "freeze".

    Works with every loop that steps a `torch.optim.Optimizer`: Trainer, TRL, Accelerate or your own, made before the
    context or inside it. Gradients of frozen entries are zeroed as soon as they arrive, so clipping and gradient norms
    see the trained entries alone; after every step the frozen entries are copied back, which undoes weight decay and
    momentum. Trained entries therefore equal, bit for bit, those of a run that does both by hand. (Optimisers that
    factor their statistics, such as Adafactor, see the zeros in both.) The model is ordinary throughout: it can be
    saved, evaluated and resumed in the middle. Costs a copy of the frozen entries and a few per cent of a step.

    Raises ValueError, and leaves the model as it was, if the mask is empty, of another model or leaves nothing to
    train; if a weight with units is quantised, offloaded or under LoRA; if the model is in such a context already;
    in the first step or at the end, if something but an optimiser step changed frozen entries; and at the end, if
    optimisers took steps, but on other models alone (`Trainer(model_init=...)`).
    Source: paper, Table 2.   Departs: none known; the paper does not say what happens to v rows and the rest.

    >>> import copy
    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> start, sizes = copy.deepcopy(model.state_dict()), ssah.UnitMap(model).sizes
    >>> scu = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in sizes.items()})
    >>> ids = torch.tensor([[1, 2, 3]])
    >>> with ssah.freeze(model, scu):
    ...     optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    ...     model(input_ids=ids, labels=ids).loss.backward()
    ...     optimizer.step()
    >>> report = ssah.check_frozen(start, model, scu)
    >>> report.frozen_changed, report.trainable_changed > 0
    (0, True)

    *Shown in:* 05_freeze_safety_units.
    """
    check_not_empty(mask, "freeze")
    with entered(model), ExitStack() as undo:
        splits = split_weights(model, mask, shared, rest)
        parts = [_Held(model, split) for split in splits if split.partial]
        off = undo.enter_context(_switched_off(model, splits, rest))
        undo.enter_context(settled_after_steps(model, parts, off))
        for part in parts:
            part.zero_gradient(part.parameter)
            if part.parameter.requires_grad:
                undo.callback(part.parameter.register_post_accumulate_grad_hook(part.zero_gradient).remove)
        yield model


@contextmanager
def train_only(model: nn.Module, mask: UnitMask, shared: str = "any", rest: str = "freeze") -> Iterator[nn.Module]:
    """Train the units of `mask` alone while the context lasts: all else stays, bit for bit.

    shared   Under grouped queries G units share one v row. It is frozen if "any" or if "all" of them are (as in
             `freeze`), so with "any" it trains only where `mask` holds all G.
    rest     What belongs to no unit: "freeze", so that only these units train, or "train".

    Trains the entries that `freeze(model, ~mask, shared, rest)` trains, in less memory and time: inside the context the
    parameters of `model` are the trained rows and columns themselves, so gradients, their arithmetic and optimiser
    state exist for these alone. Names, `state_dict()` and `save_pretrained` show whole, ordinary weights, and a
    checkpoint written in the middle resumes in the middle. Whatever changes the trained entries (an average that is
    swapped in, a schedule-free optimiser's `eval()`), each pass and each saved state have them as they are. Elementwise
    optimisers (SGD, AdamW) take the same steps as under `freeze` up to rounding; Adafactor and its like take those of a
    model that has no other entries.

    The optimiser must be made inside the context (a Trainer makes its own in `train()`), and anew for each context, and
    so must hooks on single weights. Gradients from before are dropped, and a copy that is made inside is an ordinary
    model. Raises ValueError as `freeze` does; also if the optimiser holds whole weights, if a state that is loaded
    would change frozen entries, for modules that are no plain linear maps, and if forward passes go round one.
    Source: paper, Table 4 (redundant units as alignment budget).   Departs: as `freeze`.

    >>> import copy
    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> start, sizes = copy.deepcopy(model.state_dict()), ssah.UnitMap(model).sizes
    >>> ru = ssah.UnitMask({site: torch.arange(size) < 2 for site, size in sizes.items()})
    >>> ids = torch.tensor([[1, 2, 3]])
    >>> with ssah.train_only(model, ru, shared="all"):
    ...     tuple(dict(model.named_parameters())["model.layers.0.mlp.down_proj.weight"].shape)[1]  # two columns
    ...     optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    ...     model(input_ids=ids, labels=ids).loss.backward()
    ...     optimizer.step()
    2
    >>> report = ssah.check_frozen(start, model, ~ru, shared="all", rest="freeze")
    >>> report.frozen_changed, report.trainable_changed > 0
    (0, True)

    *Shown in:* 10_real_checkpoints.
    """
    check_not_empty(mask, "train_only")
    with entered(model), ExitStack() as undo:
        splits = split_weights(model, ~mask, shared, rest)
        for split in splits:
            _check_linear(model, split)
        off = undo.enter_context(_switched_off(model, splits, rest))
        parts = [undo.enter_context(compacted(model, split)) for split in splits if split.partial]
        optimizers = undo.enter_context(settled_after_steps(model, parts, off))
        undo.callback(_retire, optimizers)
        yield model


class _Held:
    """The frozen rows or columns of one weight, with a copy to put back."""

    def __init__(self, model: nn.Module, split: Split):
        self.model, self.name, self.axis = model, split.weight, split.axis
        self.module = module_of(model, split.weight)
        self.parameter = weight_of(model, split.weight)
        self.dtype, self.index = self.parameter.dtype, split.frozen
        self.saved = self.parameter.detach().index_select(self.axis, self._index())

    def _index(self) -> Tensor:
        self.index = self.index.to(self.parameter.device)  # a Trainer may move the model
        return self.index

    @torch.no_grad()
    def zero_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            parameter.grad.index_fill_(self.axis, self._index(), 0)

    @torch.no_grad()
    def settle(self) -> None:
        """Put the frozen entries back, unless the weight has changed its precision, which `_check` refuses."""
        self.saved = self.saved.to(self.parameter.device)
        if self.parameter.dtype == self.dtype:
            self.parameter.index_copy_(self.axis, self._index(), self.saved)

    @torch.no_grad()
    def settled(self) -> bool:
        now = self.parameter.index_select(self.axis, self._index())
        return not differing(now, self.saved.to(now.device)).any()

    def check(self, held: set[int]) -> None:
        check_unreplaced(self)


@contextmanager
def _switched_off(model: nn.Module, splits: Iterable[Split], rest: str) -> Iterator[list[nn.Parameter]]:
    """No gradient for weights that are frozen whole; one from before is dropped, as an optimiser would act on it."""
    trains = {id(weight_of(model, split.weight)): len(split.trained) > 0 for split in splits}
    off = [p for p in model.parameters() if not trains.get(id(p), rest == "train")]
    changed = [p for p in off if p.requires_grad]
    if len(changed) == sum(p.requires_grad for p in model.parameters()):
        raise ValueError("nothing is left to train: pass a mask that leaves units, or rest='train', or weights that "
                         "require grad")
    try:
        for parameter in off:
            parameter.grad = None
            parameter.requires_grad_(False)
        yield off
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)


@contextmanager
def settled_after_steps(model: nn.Module, parts: list, off: list[nn.Parameter]) -> Iterator[WeakSet[Optimizer]]:
    """Settle `parts` of a model after every step of an optimiser that holds them; gives those optimisers.

    Raises ValueError, in the first step and at the end, if something else has changed frozen entries; and at the end,
    if optimisers took steps but none of them holds a weight of the model.

    >>> with settled_after_steps(nn.Linear(1, 1), [], []) as optimizers:
    ...     len(optimizers)
    0
    """
    optimizers: WeakSet[Optimizer] = WeakSet()
    steps_here = steps_elsewhere = 0

    def before(optimizer, args, kwargs):
        nonlocal steps_here, steps_elsewhere
        held = _held(optimizer)
        _check(parts, off, held)
        is_here = any(id(parameter) in held for parameter in model.parameters())
        steps_here, steps_elsewhere = steps_here + is_here, steps_elsewhere + (not is_here)
        if optimizer not in optimizers and _of(parts, optimizer):
            _check_settled(parts)
            _check_ran(parts)
            optimizers.add(optimizer)

    def after(optimizer, args, kwargs):
        for part in _of(parts, optimizer):
            part.settle()

    handles = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
    try:
        yield optimizers
        _check(parts, off, set())
        _check_settled(parts)
        if steps_here:
            _check_ran(parts)
        if steps_elsewhere and not steps_here:
            raise ValueError(f"{steps_elsewhere} optimiser steps were taken, none of them on this model: a Trainer "
                             "with model_init trains another model, and so does one that was given a copy; give it "
                             "this model, or FreezeCallback")
    finally:
        for handle in handles:
            handle.remove()
        for part in parts:
            part.settle()


def _held(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def _of(parts: list, optimizer: Optimizer) -> list:
    held = _held(optimizer)
    return [part for part in parts if id(part.parameter) in held]


def _retire(optimizers: Iterable[Optimizer]) -> None:
    """Make optimisers whose parameters are no part of the model any more say so, instead of training nothing."""

    def refuse(optimizer, args, kwargs):
        raise ValueError("the optimiser was made inside a train_only that has ended, so what it holds is no part of "
                         "the model any more: make a new optimiser (a new Trainer)")

    for optimizer in optimizers:
        optimizer.register_step_pre_hook(refuse)


_open: WeakSet[nn.Module] = WeakSet()
"""The modules that are inside a context now."""


@contextmanager
def entered(model: nn.Module) -> Iterator[None]:
    """Refuse, by a ValueError, that a model or a part of it is entered once more while the context lasts.

    >>> model = nn.Sequential(nn.Linear(1, 1))
    >>> with entered(model), entered(model[0]):
    ...     pass
    Traceback (most recent call last):
    ValueError: model is inside freeze or train_only already: ...
    """
    modules = list(model.modules())
    if any(module in _open for module in modules):
        raise ValueError("model is inside freeze or train_only already: leave that first, or join the two masks with | "
                         "(after a training that failed, FreezeCallback.release leaves it)")
    _open.update(modules)
    try:
        yield
    finally:
        _open.difference_update(modules)


def _check_linear(model: nn.Module, split: Split) -> None:
    module = module_of(model, split.weight)
    if split.partial and compact_class(module) is None:
        raise ValueError(f"{split.weight} is in a {type(module).__name__} with a forward pass of its own, of which "
                         "train_only cannot train a part: use freeze with the other units")


def _check(parts: list, off: list[nn.Parameter], held: set[int]) -> None:
    for part in parts:
        part.check(held)
    if any(parameter.requires_grad for parameter in off):
        raise ValueError("requires_grad was switched on for a weight that is frozen whole: leave it as the context "
                         "set it")


def _check_ran(parts: list) -> None:
    """Compact maps are where passes go through: all of a block that passes go through at all."""
    compact = [part for part in parts if isinstance(part, Compacted)]
    seen = {part.block for part in compact if part.module.ran}
    missed = next((part for part in compact if not part.module.ran and part.block in seen or not seen), None)
    if missed:
        raise ValueError(f"forward passes went round {missed.name}, so that its units did not train: a fused kernel, "
                         "or a module that reads weights itself; use the plain modules of transformers, or freeze")


def _check_settled(parts: list) -> None:
    for part in parts:
        if not part.settled():
            raise ValueError(f"{part.name} was changed by something that is no step of a torch optimiser (a loaded "
                             "state, an assignment, an optimiser of another kind): do that outside the context")

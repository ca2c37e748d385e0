"""Round the steps of optimisers, while units are held: frozen entries settle, and what went wrong is an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from weakref import WeakSet

from torch import nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from .partial_linear import Compacted


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


def retire(optimizers: Iterable[Optimizer]) -> None:
    """Make optimisers whose parameters are no part of the model any more say so, instead of training nothing.

    >>> retire([])
    """

    def refuse(optimizer, args, kwargs):
        raise ValueError("the optimiser was made inside a train_only that has ended, so what it holds is no part of "
                         "the model any more: make a new optimiser (a new Trainer)")

    for optimizer in optimizers:
        optimizer.register_step_pre_hook(refuse)


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

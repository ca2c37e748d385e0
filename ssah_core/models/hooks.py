"""Hooks that are sure to run: a forward pass that goes round a module would leave them without effect, and silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from .blocks import blocks, find_stack, tower


@contextmanager
def uncompiled() -> Iterator[None]:
    """Compiled modules run as they were written while the context lasts: what is compiled has no room for new hooks.

    >>> model = nn.Linear(1, 1)
    >>> model.compile(backend="eager")
    >>> with uncompiled():
    ...     tuple(model(torch.ones(1, 1)).shape)
    (1, 1)
    """
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def must_run(model: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """See that every forward pass through the blocks of `model` calls each of `modules`, while the context lasts.

    modules   What the caller reads or changes -> the module on which its hook hangs: a block, or a module inside one,
              which need not be called in a pass that leaves its block out (layer drop).

    Raises ValueError, in the pass that goes round one, and names it. Compiled models run uncompiled.

    >>> model, _ = ssah.load_organism(scale="tiny")
    >>> mlp = model.model.layers[1].mlp
    >>> mlp.forward = lambda x: nn.functional.linear(x, mlp.up_proj.weight) @ mlp.down_proj.weight.T
    >>> with must_run(model, {"site 'mlp.1'": mlp.down_proj}):
    ...     _ = model(input_ids=torch.tensor([[5, 6, 7]]))
    Traceback (most recent call last):
    ValueError: a forward pass went round site 'mlp.1' (Linear), so that ...
    """
    called: set[nn.Module] = set()
    block_of = {inner: block for block in blocks(model) for inner in block.modules()}

    def end(root, args, out) -> None:
        missed = next((name for name, module in modules.items()
                       if module not in called and block_of.get(module, module) in {module, *called}), None)
        if missed:
            raise ValueError(f"a forward pass went round {missed} ({type(modules[missed]).__name__}), so that nothing "
                             "was read or changed there: a fused kernel, or a module that reads weights itself; use "
                             "the plain modules of transformers")

    root = tower(model, find_stack(model))
    with uncompiled(), ExitStack() as undo:
        watched = {*modules.values(), *(block_of[module] for module in modules.values() if module in block_of)}
        hooks = [module.register_forward_pre_hook(lambda module, args: called.add(module)) for module in watched]
        hooks += [root.register_forward_pre_hook(lambda module, args: called.clear()), root.register_forward_hook(end)]
        for hook in hooks:
            undo.callback(hook.remove)
        yield

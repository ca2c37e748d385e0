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

from ..arguments import check_kind
from ..units import UnitMask
from .lines import clear_lines, put_lines
from .optimizer_steps import retire, settled_after_steps
from .partial_linear import compact_class, compacted
from .weight_slices import Split, check_not_empty, check_unreplaced, differing, module_of, split_weights, weight_of


@contextmanager
def freeze(model: nn.Module, mask: UnitMask, shared: str = "any", rest: str = "train") -> Iterator[nn.Module]:
    """Hold the units of `mask` while the context lasts: whatever trains `model`, their entries stay, bit for bit.

    shared   Under grouped queries G units share one v row. It is frozen if "any" or if "all" of them are.
    rest     What belongs to no unit (q, k, norms, embeddings, biases, lm_head): "train" or "freeze". With "freeze" the
             mask may be empty: then the rest alone is held.

    Works with every loop that steps a `torch.optim.Optimizer`: Trainer, TRL, Accelerate or your own, made before the
    context or inside it. Gradients of frozen entries are zeroed as soon as they arrive, so clipping and gradient norms
    see the trained entries alone; after every step the frozen entries are copied back, which undoes weight decay and
    momentum. Trained entries therefore equal, bit for bit, those of a run that does both by hand. (Optimisers that
    factor their statistics, such as Adafactor, see the zeros in both.) The model is ordinary throughout: it can be
    saved, evaluated and resumed in the middle. Costs a copy of the frozen entries and a few per cent of a step.

    Raises ValueError, and leaves the model as it was, if the mask is empty (and the rest trains), of another model or
    leaves nothing to train; if a weight with units is quantised, offloaded or under LoRA; if the model is in such a
    context already; in the first step or at the end, if something but an optimiser step changed frozen entries; and at
    the end, if optimisers took steps, but on other models alone (`Trainer(model_init=...)`).
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
    check_not_empty(mask, "freeze", rest)
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
        undo.callback(retire, optimizers)
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
            clear_lines(parameter.grad, self.axis, self._index())

    @torch.no_grad()
    def settle(self) -> None:
        """Put the frozen entries back, unless the weight has changed its precision, which `_check` refuses."""
        self.saved = self.saved.to(self.parameter.device)
        if self.parameter.dtype == self.dtype:
            put_lines(self.parameter, self.axis, self._index(), self.saved)

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
    check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
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

"""Is the unit safety's atom? Single weights, units, heads and sites of equal size, removed and held (notebook 05)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import pandas
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..materials import study
from ..models import evaluating
from ..units import UnitKind, UnitMap, UnitMask, batches
from .arms import HeldArm
from .finetuning_arms import holds
from .finetuning_attack import Attack, target
from .finetuning_tables import against_each_other
from .matched_controls import whole_heads, whole_sites
from .score_cache import with_scores
from .subject import WAYS, Subject

GRAINS = ("single weights", "units", "heads", "whole sites")
MOST = 10**9
"""Weights that are ranked one by one at most: a model with more in its units has no single weights."""

WeightMask = dict[str, Tensor]
"""Name of a weight -> which of its entries, bool like the weight."""


def weights_of(model: nn.Module, mask: UnitMask) -> WeightMask:
    """The entries of units, as masks over whole weights (on the CPU)."""
    out = {}
    for part in UnitMap(model).slices(mask):
        entries = torch.zeros(model.get_parameter(part.weight).shape, dtype=torch.bool)
        out[part.weight] = entries.index_fill_(part.axis, part.index, True)
    return out


def count(masks: Mapping[str, Tensor]) -> int:
    """How many single weights masks hold."""
    return sum(int(mask.sum()) for mask in masks.values())


# -- single weights ------------------------------------------------------------------------------------


def snip(subject: Subject, name: str) -> dict[str, Tensor]:
    """|w dL/dw| of every weight with units, summed over the prompts of a calibration set, L the loss on its responses.

    Source: Lee et al. 2019; Wei et al. 2024.
    """
    model = subject.model
    names = list(weights_of(model, _all(model)))
    weights, total = [model.get_parameter(name) for name in names], None
    for batch in batches(subject.sets[name], subject.tokenizer, "response", batch_size=1):
        labels = torch.where(batch["token_mask"], batch["input_ids"], -100)
        with evaluating(model):
            loss = model(input_ids=batch["input_ids"].to(model.device), labels=labels.to(model.device),
                         attention_mask=batch["attention_mask"].to(model.device)).loss
        gradients = torch.autograd.grad(loss, weights)
        scores = [(w.detach() * g).abs().cpu() for w, g in zip(weights, gradients, strict=True)]
        total = scores if total is None else [a + b for a, b in zip(total, scores, strict=True)]
    return dict(zip(names, total, strict=True))


def set_difference(safety: Mapping[str, Tensor], utility: Mapping[str, Tensor], n: int) -> WeightMask:
    """About `n` weights that are among the top for safety and not among the top for utility.

    Both tops are the same share of the weights, the smallest that leaves `n`. Source: Wei et al. 2024, Sec. 3.3.
    """
    flat_s, flat_u = (torch.cat([score.flatten() for score in scores.values()]) for scores in (safety, utility))
    rank_s, rank_u = _ranks(flat_s), _ranks(flat_u)
    ever = rank_s < rank_u  # in the difference of all tops larger than rank_s and not larger than rank_u
    step = lambda rank: torch.bincount(rank[ever] + 1, minlength=len(rank) + 1)  # noqa: E731
    left = (step(rank_s) - step(rank_u)).cumsum(0)  # size of the difference, by size of the top
    top = int((left >= min(n, int(left.max()))).nonzero()[0])
    chosen = ever & (rank_s < top) & (rank_u >= top)
    return {name: part.view(score.shape) for (name, score), part in
            zip(safety.items(), chosen.split([score.numel() for score in safety.values()]), strict=True)}


def _ranks(flat: Tensor) -> Tensor:
    order = flat.argsort(descending=True, stable=True)
    return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order)))


@contextmanager
def weights_removed(model: nn.Module, masks: WeightMask) -> Iterator[None]:
    """Single weights are zero while the context lasts."""
    saved = _entries(model, masks)
    _put(model, masks, {name: torch.zeros_like(entries) for name, entries in saved.items()})
    try:
        yield
    finally:
        _put(model, masks, saved)


@contextmanager
def weights_held(model: nn.Module, masks: WeightMask) -> Iterator[nn.Module]:
    """Single weights are put back after every step of an optimiser while the context lasts."""
    saved = _entries(model, masks)
    handle = register_optimizer_step_post_hook(lambda optimizer, args, kwargs: _put(model, masks, saved))
    try:
        yield model
    finally:
        handle.remove()


def _entries(model: nn.Module, masks: WeightMask) -> dict[str, Tensor]:
    weights = {name: model.get_parameter(name).detach() for name in masks}
    return {name: weight[masks[name].to(weight.device)] for name, weight in weights.items()}


@torch.no_grad()
def _put(model: nn.Module, masks: WeightMask, entries: Mapping[str, Tensor]) -> None:
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        weight.masked_scatter_(mask.to(weight.device), entries[name])


# -- the comparison -------------------------------------------------------------------------------------


def grains_for(model: nn.Module) -> tuple[str, ...]:
    """Those of `GRAINS` that can be had for a model: of `MOST` weights in units at most, single ones are ranked.

    *Shown in:* 05_freeze_safety_units.
    """
    ranked = sum(model.get_parameter(part.weight).numel() for part in UnitMap(model).slices(_all(model)))
    return tuple(grain for grain in GRAINS if grain != "single weights" or ranked <= MOST)


@study("grains", version=2)
def compared(seed: int, scale: str, grain: str, sizes: Mapping[str, Mapping[str, float]],
             checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Marks with parameters removed, or held through the benign attack, at one grain, on test prompts.

    grain   One of `grains_for` the model, or "none", for the model whole and with nothing held.

    Rows with `grain`, `how` ("removed": set to zero, SCU's number of parameters; "held": that of SCU + 6 % CU),
    `parameters` (how many), `metric`, `value`.

    *Shown in:* 05_freeze_safety_units.
    """
    subject = with_scores(target(seed, scale, checkpoints))
    fight, units = Attack(subject, "benign"), holds(subject, sizes)
    questions = subject.material.exam("test", 100)
    in_grain = finder(subject, grain)
    removed, held = (in_grain(units[arm]().mask) for arm in (HeldArm.SCU, HeldArm.FEW))
    about = {"seed": seed, "grain": grain}
    with weights_removed(subject.model, removed):
        rows = subject.examine(questions, **about, how="removed", parameters=count(removed))
    after = fight.run(None, partial(weights_held, masks=held), (fight.steps,))
    return rows + after.examine(questions, **about, how="held", parameters=count(held))


def finder(subject: Subject, grain: str) -> Callable[[UnitMask], WeightMask]:
    """What finds, at a grain and by its own ranking, about as many parameters as a set of units has.

    grain   One of `GRAINS`; or "none", which finds nothing.

    Raises ValueError for another grain.
    """
    model, by = subject.model, lambda: subject.scores(WAYS["chosen"][UnitKind.SCU]).contrast
    if grain == "none":
        return lambda mask: {}
    if grain == "single weights":
        safety, utility = (snip(subject, name) for name in ("safety", "utility"))
        return lambda mask: set_difference(safety, utility, count(weights_of(model, mask)))
    if grain == "units":
        return lambda mask: weights_of(model, mask)
    if grain == "heads":
        return lambda mask: weights_of(model, whole_heads(model, by(), count(weights_of(model, mask))))
    if grain == "whole sites":
        return lambda mask: weights_of(model, whole_sites(mask, by()))
    raise ValueError(f"grain={grain!r} is unknown: choose one of none, {', '.join(GRAINS)}")


def as_records(table: pandas.DataFrame) -> pandas.DataFrame:
    """Every grain against every other: "granularity/<how>/<grain>_vs_<other>/<metric>", differences in points.

    table   Rows of `compared`.

    *Shown in:* 05_freeze_safety_units.
    """
    named = table.assign(grain=table.grain.str.replace(" ", "_"))
    return against_each_other(named, "grain", ["how", "metric", "seed"], lambda row: "granularity/" + row.how)


def _all(model: nn.Module) -> UnitMask:
    return UnitMask({site.name: torch.ones(site.size, dtype=torch.bool) for site in UnitMap(model)})

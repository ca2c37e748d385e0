"""Remove units, and bring them back bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..arguments import check_choice, check_kind
from ..models import must_run
from .check_units import known_units
from .masks import UnitMask, check_mask
from .moments import Moments

FILLS = ("zero", "mean")


@contextmanager
def ablate(model: nn.Module, mask: UnitMask, fill: str = "zero", moments: Moments | None = None) -> Iterator[nn.Module]:
    """Remove the units of `mask` while the context lasts: their activation is replaced before B reads it.

    fill      "zero": removed units contribute nothing (pruning, as in the paper).
              "mean": they contribute their mean over the set that `moments` were collected on, so that
              the model loses what they *tell* and keeps what they add on average (FLAP's bias compensation).
    moments   Needed for "mean".

    No weight is touched, so leaving the context, by an exception too, restores the model bit for bit.
    A compiled model runs uncompiled meanwhile. Raises ValueError if the mask or the moments are of another model, or
    means are missing; and in a forward pass that goes round a site (a fused kernel), where nothing would be removed.
    Source: paper, Table 1 ("zero").   Departs: "mean" is ours.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> sizes = ssah.UnitMap(model).sizes
    >>> nothing = UnitMask({site: torch.zeros(size, dtype=torch.bool) for site, size in sizes.items()})
    >>> ids = torch.tensor([[1, 2, 3]])
    >>> before = model(input_ids=ids).logits
    >>> with ssah.ablate(model, ~nothing):
    ...     torch.equal(model(input_ids=ids).logits, before)
    False
    >>> torch.equal(model(input_ids=ids).logits, before)
    True

    *Shown in:* 00_start_here.
    """
    check_choice(FILLS, fill=fill)
    if fill == "mean" and moments is None:
        raise ValueError("fill='mean' needs moments: pass the moments of the utility set, or use fill='zero'")
    check_kind((Moments, type(None)), "pass what collect gives", moments=moments)
    check_mask(mask, "ablate")
    units = known_units(model)
    mask.check(units.sizes)
    if fill == "mean" and moments.sizes != units.sizes:
        raise ValueError("moments are of another model: collect them on the model whose units are removed")
    values = moments.mean if fill == "mean" else {site: torch.zeros(size) for site, size in units.sizes.items()}
    readers = {site.name: model.get_submodule(site.reader) for site in units if mask[site.name].any()}
    if not readers:
        yield model
        return
    with must_run(model, {f"site {name!r}": reader for name, reader in readers.items()}), ExitStack() as undo:
        for name, reader in readers.items():
            undo.callback(_replace(reader, mask[name], values[name]).remove)
        yield model


def _replace(reader: nn.Module, removed: Tensor, value: Tensor) -> RemovableHandle:
    def fill(module, args):  # device and dtype of the activation: those of an offloaded weight are others
        x = args[0]  # [batch, token, unit]
        return torch.where(removed.to(x.device), value.to(x), x), *args[1:]

    return reader.register_forward_pre_hook(fill)

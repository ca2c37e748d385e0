"""Units to hold a chosen group against: as many, but not those."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..masks import UnitMask
from ..units import UnitMap


def like_magnitude(model: nn.Module, mask: UnitMask) -> UnitMask:
    """For every unit of `mask`, the unit outside it, of the same site, whose column of B is nearest in norm."""
    twins = {}
    for site in UnitMap(model):
        weight = model.get_submodule(site.reader).weight.detach()
        norm = weight.norm(dim=0)  # [unit]
        taken = mask[site.name].clone()
        for unit in mask[site.name].nonzero().flatten():
            twin = torch.where(taken, torch.inf, (norm - norm[unit]).abs()).argmin()
            taken[twin] = True
        twins[site.name] = taken & ~mask[site.name]
    return UnitMask(twins)


def whole_sites(mask: UnitMask, by: Mapping[str, Tensor]) -> UnitMask:
    """As many units as `mask` has, by whole sites, those of the largest mean score `by` first; the last one in part."""
    left, chosen = mask.count, {site: torch.zeros_like(units) for site, units in mask.sites.items()}
    for site in sorted(mask.sites, key=lambda site: float(by[site].mean()), reverse=True):
        take = min(left, len(chosen[site]))
        chosen[site][:take] = True
        left -= take
    return UnitMask(chosen)

"""Sets of units: masks, the labels SCU, UCU, CU and RU, and random sets to compare with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


class UnitKind(StrEnum):
    """The paper's four kinds of unit."""

    SCU = "SCU"
    """safety-critical: needed for safety, hardly for utility"""
    UCU = "UCU"
    """utility-critical: needed for utility, hardly for safety"""
    CU = "CU"
    """complex: needed for both"""
    RU = "RU"
    """redundant: needed for neither"""


@dataclass(frozen=True, eq=False)
class UnitMask:
    """A set of units: site -> bool [unit]. Every site of the model is present.

    `a | b`, `a & b`, `~a` combine masks of one model; `count` is the number of units in the set,
    `fraction` its share of all units.
    """

    sites: Mapping[str, Tensor]

    def __post_init__(self):
        for site, mask in self.sites.items():
            if mask.dtype != torch.bool or mask.dim() != 1:
                raise ValueError(f"mask[{site!r}] is {mask.dtype} of shape {tuple(mask.shape)}: "
                                 "pass a bool vector [unit]")

    def __getitem__(self, site: str) -> Tensor:
        return self.sites[site]

    def __or__(self, other: UnitMask) -> UnitMask:
        return self._with(other, torch.logical_or)

    def __and__(self, other: UnitMask) -> UnitMask:
        return self._with(other, torch.logical_and)

    def __invert__(self) -> UnitMask:
        return UnitMask({site: ~mask for site, mask in self.sites.items()})

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, UnitMask) and self.sizes == other.sizes
                and all(torch.equal(mask, other[site]) for site, mask in self.sites.items()))

    def _with(self, other: UnitMask, combine: Callable[[Tensor, Tensor], Tensor]) -> UnitMask:
        other.check(self.sizes)
        return UnitMask({site: combine(mask, other[site]) for site, mask in self.sites.items()})

    @property
    def sizes(self) -> dict[str, int]:
        return {site: len(mask) for site, mask in self.sites.items()}

    @property
    def count(self) -> int:
        return sum(int(mask.sum()) for mask in self.sites.values())

    @property
    def fraction(self) -> float:
        return self.count / sum(self.sizes.values())

    def top(self, share: float, by: Mapping[str, Tensor]) -> UnitMask:
        """The units of this set with the largest scores `by`, `share` (0-1) of *all* units of the model.

        Equal scores go to the earlier unit. Raises ValueError if the set holds fewer units than that.
        """
        for site, mask in self.sites.items():
            if site not in by or by[site].shape != mask.shape or not bool(torch.isfinite(by[site][mask]).all()):
                raise ValueError(f"by[{site!r}] is not one finite score a unit: "
                                 "pass scores of the model that the mask is of")
        n = share_to_count(share, sum(self.sizes.values()))
        if n > self.count:
            raise ValueError(f"share {share} asks for {n} units but the set holds {self.count}: ask for less")
        chosen = {site: torch.where(mask, by[site].double(), -torch.inf) for site, mask in self.sites.items()}
        return top_units(chosen, n)

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raise ValueError unless this mask fits a model whose sites have these `sizes`."""
        if self.sizes != dict(sizes):
            site = next((s for s in {**sizes, **self.sizes} if self.sizes.get(s) != sizes.get(s)), None)
            raise ValueError(f"mask does not fit the model: site {site!r} has {self.sizes.get(site, 'no')} units in "
                             f"the mask and {sizes.get(site, 'no')} in the model; use a mask made for this model")

    def save(self, path: str | Path) -> None:
        """Write the mask as safetensors."""
        save_file({site: mask.contiguous() for site, mask in self.sites.items()}, path,
                  metadata={"ssah": "UnitMask", "order": json.dumps(list(self.sites))})

    @classmethod
    def load(cls, path: str | Path) -> UnitMask:
        """Read a mask that `save` wrote."""
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("ssah") != "UnitMask":
                raise ValueError(f"{path} holds no unit mask: pass a file that UnitMask.save wrote")
            return cls({site: file.get_tensor(site) for site in json.loads(file.metadata()["order"])})


@dataclass(frozen=True)
class UnitLabels:
    """The kind of every unit, as one mask a kind. The four masks are disjoint and cover all units."""

    masks: Mapping[UnitKind, UnitMask]

    def mask(self, kind: str) -> UnitMask:
        """The units of a kind: "SCU", "UCU", "CU" or "RU"."""
        if kind not in list(UnitKind):
            raise ValueError(f"kind {kind!r} is unknown: choose one of {', '.join(UnitKind)}")
        return self.masks[UnitKind(kind)]


def share_to_count(share: float, total: int, name: str = "share") -> int:
    """The number of units that a share (0-1) of `total` units means, at least one unless the share is 0."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name}={share} is no share: pass a number from 0 to 1")
    return max(1, round(share * total)) if share else 0


def top_units(scores: Mapping[str, Tensor], n: int) -> UnitMask:
    """The `n` units with the largest scores over all sites. Equal scores go to the earlier unit."""
    flat = torch.cat(list(scores.values()))
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[torch.sort(flat, descending=True, stable=True).indices[:n]] = True
    return split_sites(chosen, {site: len(score) for site, score in scores.items()})


def split_sites(flat: Tensor, sizes: Mapping[str, int]) -> UnitMask:
    """Cut one bool vector over all units into a mask."""
    return UnitMask(dict(zip(sizes, flat.split(list(sizes.values())), strict=True)))


def random_like(mask: UnitMask, seed: int, outside: UnitMask | None = None) -> UnitMask:
    """Random units, as many in every site as `mask` has: the control for a chosen set.

    outside   Units that may not be drawn, e.g. `mask` itself for a control that shares none with it.
    """
    if outside is not None:
        outside.check(mask.sizes)
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    for site, chosen in mask.sites.items():
        free = torch.ones_like(chosen) if outside is None else ~outside[site]
        if int(chosen.sum()) > int(free.sum()):
            raise ValueError(f"site {site!r} has {int(free.sum())} units to draw {int(chosen.sum())} from: "
                             "leave more outside")
        order = torch.nonzero(free).flatten()
        pick = order[torch.randperm(len(order), generator=generator)[:int(chosen.sum())]]
        drawn[site] = torch.zeros_like(chosen)
        drawn[site][pick] = True
    return UnitMask(drawn)

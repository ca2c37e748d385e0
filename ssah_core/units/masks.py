"""Sets of units: masks, and the labels SCU, UCU, CU and RU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from ..arguments import check_choice, check_kind, check_share, shown
from . import files, show

MASK = files.Form("UnitMask", "mask", ("units",), torch.bool)
LABELS = files.Form("UnitLabels", "labels", ("kinds",), torch.uint8)


class UnitKind(StrEnum):
    """The paper's four kinds of unit.

    >>> UnitKind("SCU") == "SCU", len(UnitKind)
    (True, 4)

    *Shown in:* 03_label_units.
    """

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
    `fraction` (0-1) its share of all units.

    Raises ValueError for what is no bool vector, and where masks of different models meet.

    >>> chosen = ssah.UnitMask({"attn.0": torch.tensor([True, False]), "mlp.0": torch.tensor([True, True, False])})
    >>> chosen
    <UnitMask: 3 of 5 units (60.0%): attn 1 of 2 (50.0%), mlp 2 of 3 (66.7%)>
    >>> (~chosen).count, (chosen | ~chosen).fraction, chosen["mlp.0"].tolist()
    (2, 1.0, [True, True, False])
    >>> chosen.save("scu.safetensors", about={"model": "a toy", "calibration": "none", "criterion": "by hand"})
    >>> ssah.UnitMask.load("scu.safetensors") == chosen
    True

    *Shown in:* 00_start_here.
    """

    sites: Mapping[str, Tensor]

    def __post_init__(self):
        check_kind(Mapping, "pass a mapping of site -> bool vector [unit]", sites=self.sites)
        for site, mask in self.sites.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.dim() != 1:
                what = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else shown(mask)
                raise ValueError(f"mask[{site!r}] is {what}: pass a bool vector [unit]")

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
        check_mask(other, "| or &")
        other.check(self.sizes)
        return UnitMask({site: combine(mask, other[site]) for site, mask in self.sites.items()})

    @property
    def sizes(self) -> dict[str, int]:
        return {site: len(mask) for site, mask in self.sites.items()}

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    @property
    def fraction(self) -> float:
        return self.count / max(1, sum(self.sizes.values()))

    def top(self, share: float, by: Mapping[str, Tensor]) -> UnitMask:
        """The units of this set with the largest scores `by`, `share` (0-1) of *all* units of the model.

        Equal scores go to the earlier unit. Raises ValueError if the set holds fewer units than that.
        """
        check_kind(Mapping, "pass a mapping of site -> scores [unit], such as scores.contrast", by=by)
        for site, mask in self.sites.items():
            score = by.get(site)
            if not isinstance(score, Tensor) or score.shape != mask.shape or not torch.isfinite(score[mask]).all():
                raise ValueError(f"by[{site!r}] is not one finite score a unit ({shown(score)}): "
                                 "pass scores of the model that the mask is of")
        n = share_to_count(share, sum(self.sizes.values()))
        if n > self.count:
            raise ValueError(f"share {share} asks for {n} units but the set holds {self.count}: ask for less")
        chosen = {site: torch.where(mask, by[site].double(), -torch.inf) for site, mask in self.sites.items()}
        return top_units(chosen, n)

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raise ValueError unless this mask fits a model whose sites have these `sizes`."""
        check_kind(Mapping, "pass a mapping of site -> number of units, such as UnitMap(model).sizes", sizes=sizes)
        if self.sizes != dict(sizes):
            site = next((s for s in {**sizes, **self.sizes} if self.sizes.get(s) != sizes.get(s)), None)
            raise ValueError(f"mask does not fit the model: site {site!r} has {self.sizes.get(site, 'no')} units in "
                             f"the mask and {sizes.get(site, 'no')} in the model; use a mask made for this model")

    def save(self, path: str | Path, about: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write the mask as safetensors, with what it is of.

        about   What the file says of its origin: `model`, `calibration`, `criterion` and whatever else a reader should
                know; `units.describe(model)` gives the first. `units.read_about(path)` shows it.

        Raises ValueError if `about` is not of text.
        """
        files.write(path, MASK, {"units": self.sites}, {}, about)

    @classmethod
    def load(cls, path: str | Path) -> UnitMask:
        """Read a mask that `save` wrote. Raises ValueError if the file is no such file, or not whole."""
        return cls(files.read(path, MASK)[0]["units"])

    @property
    def counts(self) -> dict[str, int]:
        """Units of the set at every site."""
        return {site: int(mask.sum()) for site, mask in self.sites.items()}

    def __repr__(self) -> str:
        whole = show.share(self.count, sum(self.sizes.values()), " units")
        return f"<UnitMask: {whole}: {show.shares_by_kind(self.counts, self.sizes)}>"

    def _repr_html_(self) -> str:
        whole = show.share(self.count, sum(self.sizes.values()), " units")
        return show.table_by_block(f"UnitMask: {whole}", self.counts, self.sizes)


@dataclass(frozen=True)
class UnitLabels:
    """The kind of every unit, as one mask a kind. The four masks are disjoint and cover all units.

    `labels.mask("SCU")` is the mask of a kind; a `save` keeps all four. `label_units` makes labels of scores.

    >>> scu = ssah.UnitMask({"mlp.0": torch.tensor([True, False, False, False])})
    >>> ru = ssah.UnitMask({"mlp.0": torch.tensor([False, False, False, True])})
    >>> labels = ssah.UnitLabels({UnitKind.SCU: scu, UnitKind.UCU: scu & ru, UnitKind.CU: ~(scu | ru), UnitKind.RU: ru})
    >>> labels
    <UnitLabels of 4 units: SCU 1 (25.0%), UCU 0 (0.0%), CU 2 (50.0%), RU 1 (25.0%)>
    >>> labels.mask("CU")["mlp.0"].tolist()
    [False, True, True, False]
    >>> labels.save("labels.safetensors", about={"model": "a toy"})
    >>> ssah.UnitLabels.load("labels.safetensors").mask("RU") == ru
    True

    *Shown in:* 00_start_here.
    """

    masks: Mapping[UnitKind, UnitMask]

    def __post_init__(self):
        kinds = list(self.masks) if isinstance(self.masks, Mapping) else []
        if set(kinds) != set(UnitKind) or not all(isinstance(mask, UnitMask) for mask in self.masks.values()):
            raise ValueError(f"masks is {shown(self.masks)}: pass a UnitMask for each of {', '.join(UnitKind)}, as "
                             "label_units does")

    def mask(self, kind: str) -> UnitMask:
        """The units of a kind: "SCU", "UCU", "CU" or "RU". Raises ValueError for another."""
        check_choice(tuple(UnitKind), kind=kind)
        return self.masks[UnitKind(kind)]

    @property
    def sizes(self) -> dict[str, int]:
        return self.mask("CU").sizes

    def save(self, path: str | Path, about: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write the labels as safetensors, with what they are of, as `UnitMask.save` does.

        Raises ValueError if a unit has no kind or several, or `about` is not of text.
        """
        codes = {}
        for kind in UnitKind:
            self.mask(kind).check(self.sizes)
        for site in self.sizes:
            kinds = torch.stack([self.mask(kind)[site].cpu() for kind in UnitKind]).byte()  # [kind, unit]
            if not bool((kinds.sum(0) == 1).all()):
                raise ValueError(f"labels give a unit of site {site!r} no kind or several: pass four masks that are "
                                 "disjoint and cover all units, as label_units makes them")
            codes[site] = kinds.argmax(0).byte()
        files.write(path, LABELS, {"kinds": codes}, {"kinds": list(UnitKind)}, about)

    @classmethod
    def load(cls, path: str | Path) -> UnitLabels:
        """Read labels that `save` wrote. Raises ValueError if the file is no such file, or not whole."""
        parts, facts = files.read(path, LABELS)
        codes, known = parts["kinds"], list(UnitKind)
        if facts.get("kinds") != known or any(bool((code >= len(known)).any()) for code in codes.values()):
            raise ValueError(f"{path} has kinds of unit that ssah does not know: it knows {', '.join(UnitKind)}")
        return cls({kind: UnitMask({site: code == n for site, code in codes.items()}) for n, kind in enumerate(known)})

    def __repr__(self) -> str:
        total = sum(self.sizes.values())
        counts = {kind: self.mask(kind).count for kind in UnitKind}
        kinds = ", ".join(f"{kind} {count:,} ({show.percent(count, total)})" for kind, count in counts.items())
        return f"<UnitLabels of {total:,} units: {kinds}>"

    def _repr_html_(self) -> str:
        whole = show.by_kind(self.sizes)
        counts = {kind: show.by_kind(self.mask(kind).counts) for kind in UnitKind}
        return show.table(f"UnitLabels of {sum(whole.values()):,} units", list(whole),
                          {kind: [(n, whole[of]) for of, n in count.items()] for kind, count in counts.items()})


def share_to_count(share: float, total: int, name: str = "share") -> int:
    """The number of units that a share (0-1) of `total` units means, at least one unless the share is 0.

    Raises ValueError, with the argument's `name`, for what is no share.

    >>> share_to_count(0.03, 100), share_to_count(0.001, 100), share_to_count(0, 100)
    (3, 1, 0)
    """
    check_share(**{name: share})
    return max(1, round(share * total)) if share else 0


def top_units(scores: Mapping[str, Tensor], n: int) -> UnitMask:
    """The `n` units with the largest scores [unit] over all sites. Equal scores go to the earlier unit.

    >>> top_units({"attn.0": torch.tensor([1., 3.]), "mlp.0": torch.tensor([3., 2.])}, 2)
    <UnitMask: 2 of 4 units (50.0%): attn 1 of 2 (50.0%), mlp 1 of 2 (50.0%)>
    """
    flat = torch.cat(list(scores.values()))
    chosen = torch.zeros(len(flat), dtype=torch.bool)
    chosen[torch.sort(flat, descending=True, stable=True).indices[:n]] = True
    return split_sites(chosen, {site: len(score) for site, score in scores.items()})


def split_sites(flat: Tensor, sizes: Mapping[str, int]) -> UnitMask:
    """Cut one bool vector over all units into a mask, by the sizes of its sites.

    >>> split_sites(torch.tensor([True, False, False]), {"attn.0": 2, "mlp.0": 1}).counts
    {'attn.0': 1, 'mlp.0': 0}
    """
    return UnitMask(dict(zip(sizes, flat.split(list(sizes.values())), strict=True)))


def check_mask(mask: object, caller: str) -> None:
    """Raise ValueError for what is no mask, such as labels.

    >>> check_mask(None, "ablate")
    Traceback (most recent call last):
    ValueError: mask is NoneType, but ablate takes a UnitMask: pass one, such as labels.mask('SCU')
    """
    if not isinstance(mask, UnitMask):
        raise ValueError(f"mask is {type(mask).__name__}, but {caller} takes a UnitMask: pass one, such as "
                         "labels.mask('SCU')")

"""Where a model's units are, masks over them, and their labels.

The paper sees every transformer block as two modules f(X) = B sigma(A X): attention (A = v, B = o)
and MLP (A = gate and up, B = down). *Unit* j is input channel j of B together with the neuron of A
that feeds it (Sec. 3; FLAP calls it a channel). A *site* is one module's set of units: "mlp.3" is
the MLP of block 3, "attn.3" its attention. q, k, norms, embeddings and biases belong to no unit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


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


@dataclass(frozen=True)
class Family:
    """Names of the modules of one family of decoders, relative to a block."""

    attention_out: str
    attention_in: str
    mlp_out: str
    mlp_in: tuple[str, ...]


FAMILIES = (
    # Llama, Mistral, Qwen 2 and 3, Gemma 1 to 3, OLMo 2, StableLM, SmolLM 3, Granite
    Family("self_attn.o_proj", "self_attn.v_proj", "mlp.down_proj", ("mlp.gate_proj", "mlp.up_proj")),
    Family("self_attn.out_proj", "self_attn.v_proj", "fc2", ("fc1",)),  # OPT
)


@dataclass(frozen=True)
class Site:
    """One module whose input channels are units."""

    name: str
    """"mlp.3" or "attn.3" """
    reader: str
    """Name of B in the model, e.g. "model.layers.3.mlp.down_proj"; unit j is its input channel j."""
    writers: tuple[str, ...]
    """Names of the modules A that feed it; unit j is fed by their row j (or, under grouped queries, a shared one)."""
    size: int
    """Number of units."""
    head_dim: int
    """Channels a head, for attention; 0 for an MLP."""
    groups: int
    """Query heads that share one value head (1 where each has its own, and for an MLP)."""

    @property
    def block(self) -> int:
        return int(self.name.rpartition(".")[2])

    @property
    def kind(self) -> str:
        return self.name.partition(".")[0]

    def rows(self) -> Tensor:
        """The row of each writer that feeds unit j: int64 [unit]. Under grouped queries (h // G) * D + d."""
        unit = torch.arange(self.size)
        if not self.head_dim:
            return unit
        return unit // self.head_dim // self.groups * self.head_dim + unit % self.head_dim


class UnitMap:
    """The units of a Hugging Face decoder. Shapes come from its modules, never from its config.

    units.sites        Names of its sites in the order of the blocks: "attn.0", "mlp.0", "attn.1", ...
    units.size(site)   Number of units of one site.
    units.total        Number of all units.

    Raises ValueError if the model has no blocks that are known here.
    """

    def __init__(self, model: nn.Module):
        modules = dict(model.named_modules())
        self._sites = {site.name: site for block, prefix in enumerate(_blocks(model, modules))
                       for site in _sites_of_block(modules, prefix, block)}

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(self._sites)

    @property
    def total(self) -> int:
        return sum(site.size for site in self)

    def size(self, site: str) -> int:
        return self[site].size

    def __getitem__(self, name: str) -> Site:
        if name not in self._sites:
            raise ValueError(f"site {name!r} is not in this model: choose one of {', '.join(self._sites)}")
        return self._sites[name]

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites.values())

    def __len__(self) -> int:
        return len(self._sites)

    @property
    def sizes(self) -> dict[str, int]:
        return {site.name: site.size for site in self}


def _blocks(model: nn.Module, modules: Mapping[str, nn.Module]) -> list[str]:
    """Names of the transformer blocks: the children of the one module list that a family recognises."""
    found = [name for name, module in modules.items()
             if isinstance(module, nn.ModuleList) and len(module) and _family(modules, f"{name}.0")]
    if len(found) > 1:
        raise ValueError(f"{type(model).__name__} has blocks in {' and '.join(found)}: pass a model with one stack")
    if not found:
        raise ValueError(f"{type(model).__name__} has no blocks that ssah knows (looked for "
                         f"{' or '.join(family.mlp_out for family in FAMILIES)}): add a row to ssah_core.units.FAMILIES")
    return [f"{found[0]}.{n}" for n in range(len(modules[found[0]]))]


def _family(modules: Mapping[str, nn.Module], prefix: str) -> Family | None:
    parts = lambda f: (f.attention_out, f.attention_in, f.mlp_out, *f.mlp_in)  # noqa: E731
    return next((f for f in FAMILIES if all(f"{prefix}.{part}" in modules for part in parts(f))), None)


def _sites_of_block(modules: Mapping[str, nn.Module], prefix: str, block: int) -> list[Site]:
    family = _family(modules, prefix)
    if family is None:
        raise ValueError(f"block {block} ({prefix}) is built unlike block 0: ssah knows no units for mixed blocks yet")
    name = lambda part: f"{prefix}.{part}"  # noqa: E731
    out, value = modules[name(family.attention_out)], modules[name(family.attention_in)]
    head_dim = getattr(modules[name(family.attention_out.rpartition(".")[0])], "head_dim", out.in_features)
    return [Site(f"attn.{block}", name(family.attention_out), (name(family.attention_in),),
                 out.in_features, head_dim, out.in_features // value.out_features),
            Site(f"mlp.{block}", name(family.mlp_out), tuple(map(name, family.mlp_in)),
                 modules[name(family.mlp_out)].in_features, 0, 1)]


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
                raise ValueError(f"mask[{site!r}] is {mask.dtype} of shape {tuple(mask.shape)}: pass a bool vector [unit]")

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
                raise ValueError(f"by[{site!r}] is not one finite score a unit: pass scores of the model that the mask is of")
        n = share_to_count(share, sum(self.sizes.values()))
        if n > self.count:
            raise ValueError(f"share {share} asks for {n} units but the set holds {self.count}: ask for less")
        chosen = {site: torch.where(mask, by[site].double(), -torch.inf) for site, mask in self.sites.items()}
        return top_units(chosen, n)

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raise ValueError unless this mask fits a model whose sites have these `sizes`."""
        if self.sizes != dict(sizes):
            site = next((s for s in {**sizes, **self.sizes} if self.sizes.get(s) != sizes.get(s)), None)
            raise ValueError(f"mask does not fit the model: site {site!r} has {self.sizes.get(site, 'no')} units in the mask "
                             f"and {sizes.get(site, 'no')} in the model; use a mask made for this model")

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
    return UnitMask(dict(zip(sizes, flat.split(list(sizes.values())))))


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
            raise ValueError(f"site {site!r} has {int(free.sum())} units to draw {int(chosen.sum())} from: leave more outside")
        order = torch.nonzero(free).flatten()
        pick = order[torch.randperm(len(order), generator=generator)[:int(chosen.sum())]]
        drawn[site] = torch.zeros_like(chosen)
        drawn[site][pick] = True
    return UnitMask(drawn)

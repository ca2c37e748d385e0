"""Where a model's units are, and which entries of its weights are theirs.

The paper sees every transformer block as two modules f(X) = B sigma(A X): attention (A = v, B = o)
and MLP (A = gate and up, B = down). *Unit* j is input channel j of B together with the neuron of A
that feeds it (Sec. 3; FLAP calls it a channel). A *site* is one module's set of units: "mlp.3" is
the MLP of block 3, "attn.3" its attention. q, k, norms, embeddings and biases belong to no unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .masks import UnitMask

SHARED = ("any", "all")


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


@dataclass(frozen=True, eq=False)
class Slice:
    """Entries of one weight that belong to units: whole rows (axis 0) or columns (axis 1)."""

    weight: str
    """Name of the parameter, e.g. "model.layers.3.mlp.down_proj.weight"."""
    axis: int
    index: Tensor
    """Which rows or columns: int64, sorted, each once."""


class UnitMap:
    """The units of a Hugging Face decoder. Shapes come from its modules, never from its config.

    units.sites        Names of its sites in the order of the blocks: "attn.0", "mlp.0", "attn.1", ...
    units.size(site)   Number of units of one site.
    units.total        Number of all units.
    units.slices(mask) The entries of the weights that belong to the units of a mask.

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

    def slices(self, mask: UnitMask, shared: str = "any") -> list[Slice]:
        """The weight entries of the units of `mask`: for each, the column that reads it and the rows that feed it.

        shared   Under grouped queries a v row feeds several units. It belongs to the set when "any" or when "all"
                 of the units that it feeds are in `mask`.

        One slice a weight, in the order of the sites; weights without entries are left out, so an empty mask has
        none. No weight is cut along both axes, since a reader is no writer: slices never overlap.
        Raises ValueError if `mask` is of another model or `shared` is unknown.
        """
        if shared not in SHARED:
            raise ValueError(f"shared={shared!r} is unknown: choose one of {', '.join(SHARED)}")
        mask.check(self.sizes)
        found: dict[tuple[str, int], list[Tensor]] = {}
        for site in self:
            for name, axis, index in _entries(site, mask[site.name].cpu(), shared):
                found.setdefault((f"{name}.weight", axis), []).append(index)
        joined = [Slice(*place, torch.cat(indices).unique()) for place, indices in found.items()]
        return [part for part in joined if len(part.index)]


def _entries(site: Site, chosen: Tensor, shared: str) -> Iterator[tuple[str, int, Tensor]]:
    """Module, axis and index of the weight entries of the `chosen` units [unit] of one site."""
    rows = site.rows()
    fed = rows[chosen]
    if shared == "all":
        fed = fed[~torch.isin(fed, rows[~chosen])]
    yield site.reader, 1, torch.nonzero(chosen).flatten()
    for writer in site.writers:
        yield writer, 0, fed


def _blocks(model: nn.Module, modules: Mapping[str, nn.Module]) -> list[str]:
    """Names of the transformer blocks: the children of the one module list that a family recognises."""
    found = [name for name, module in modules.items()
             if isinstance(module, nn.ModuleList) and len(module) and _family(modules, f"{name}.0")]
    if len(found) > 1:
        raise ValueError(f"{type(model).__name__} has blocks in {' and '.join(found)}: pass a model with one stack")
    if not found:
        raise ValueError(f"{type(model).__name__} has no blocks that ssah knows (looked for "
                         f"{' or '.join(family.mlp_out for family in FAMILIES)}): "
                         "add a row to ssah_core.units.FAMILIES")
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
    return [Site(f"attn.{block}", name(family.attention_out), (name(family.attention_in),),
                 out.in_features, _head_dim(modules, name(family.attention_out.rpartition(".")[0])),
                 out.in_features // value.out_features),
            Site(f"mlp.{block}", name(family.mlp_out), tuple(map(name, family.mlp_in)),
                 modules[name(family.mlp_out)].in_features, 0, 1)]


def _head_dim(modules: Mapping[str, nn.Module], attention: str) -> int:
    if not isinstance(getattr(modules[attention], "head_dim", None), int):
        raise ValueError(f"{attention} does not say how wide a head is: set its attribute `head_dim`, without which "
                         "the value rows of grouped queries cannot be told apart")
    return modules[attention].head_dim

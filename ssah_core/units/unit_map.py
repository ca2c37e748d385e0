"""Where a model's units are, and which entries of its weights are theirs.

The paper sees every transformer block as two modules f(X) = B sigma(A X): attention (A = v, B = o)
and MLP (A = gate and up, B = down). *Unit* j is input channel j of B together with the neuron of A
that feeds it (Sec. 3; FLAP calls it a channel). A *site* is one module's set of units: "mlp.3" is
the MLP of block 3, "attn.3" its attention. q, k, norms, embeddings and biases belong to no unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ..arguments import check_choice, check_kind, shown
from ..models import find_stack, stacks
from . import show
from .families import FAMILIES, Layout, find_family
from .masks import UnitMask, check_mask

SHARED = ("any", "all")


@dataclass(frozen=True, eq=False)
class Writer:
    """One module A that feeds a site, or one part of it: a fused gate and up are two writers of one module.

    >>> Writer("model.layers.3.self_attn.v_proj", 0, torch.tensor([0, 1, 0, 1])).rows.tolist()  # two heads share rows
    [0, 1, 0, 1]
    """

    module: str
    """Name of A in the model, e.g. "model.layers.3.mlp.up_proj"."""
    axis: int
    """Axis of its weight along which the rows lie: 0, or 1 where the weight is transposed (GPT-2)."""
    rows: Tensor
    """The row that feeds unit j: int64 [unit]; a row that several units share is there several times."""


@dataclass(frozen=True, eq=False)
class Site:
    """One module whose input channels are units.

    >>> site = Site("mlp.3", "model.layers.3.mlp.down_proj", axis=1, size=8, writers=())
    >>> site.block, site.kind
    (3, 'mlp')
    """

    name: str
    """"mlp.3" or "attn.3" """
    reader: str
    """Name of B in the model, e.g. "model.layers.3.mlp.down_proj"; unit j is its input channel j."""
    axis: int
    """Axis of B's weight along which the columns lie: 1, or 0 where the weight is transposed (GPT-2)."""
    size: int
    """Number of units."""
    writers: tuple[Writer, ...]
    head_dim: int = 1
    """Units of a head, one head behind another; 1 in an MLP."""

    @property
    def block(self) -> int:
        return int(self.name.rpartition(".")[2])

    @property
    def kind(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, eq=False)
class Slice:
    """Entries of one weight that belong to units: all entries along `axis` at each `index`.

    >>> Slice("model.layers.3.mlp.down_proj.weight", 1, torch.tensor([2, 7])).index.tolist()
    [2, 7]
    """

    weight: str
    """Name of the parameter, e.g. "model.layers.3.mlp.down_proj.weight"."""
    axis: int
    """0: rows of the weight as it is stored, 1: its columns."""
    index: Tensor
    """Which of them: int64, sorted, each once."""


class UnitMap:
    """The units of a Hugging Face decoder. Shapes come from its modules, never from its config.

    units.sites        Names of its sites in the order of the blocks: "attn.0", "mlp.0", "attn.1", ...
    units.size(site)   Number of units of one site.
    units.total        Number of all units.
    units.blocks       Names of its transformer blocks, in order.
    units.slices(mask) The entries of its weights that belong to the units of a mask.

    Raises ValueError if the model's family is not in `ssah_core.units.families`, if it is a mixture of experts or
    quantised, or if its blocks are not all built alike. The table goes by the names and shapes of modules;
    `check_units` tries on the model itself whether they mean what they say.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> units = ssah.UnitMap(model)
    >>> units.sites[:3], units.total == sum(units.sizes.values())
    (('attn.0', 'mlp.0', 'attn.1'), True)
    >>> site = units["mlp.0"]
    >>> site.reader, [writer.module for writer in site.writers]
    ('model.layers.0.mlp.down_proj', ['model.layers.0.mlp.gate_proj', 'model.layers.0.mlp.up_proj'])
    >>> one = ssah.UnitMask({site: (torch.arange(size) == 7) & (site == "mlp.0") for site, size in units.sizes.items()})
    >>> {part.weight: (part.axis, part.index.tolist()) for part in units.slices(one)}
    {'model.layers.0.mlp.down_proj.weight': (1, [7]), 'model.layers.0.mlp.gate_proj.weight': (0, [7]),
     'model.layers.0.mlp.up_proj.weight': (0, [7])}

    *Shown in:* 00_start_here.
    """

    def __init__(self, model: nn.Module):
        check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
        modules = dict(model.named_modules())
        self.blocks = _blocks(model, modules)
        self._sites = {site.name: site for block, prefix in enumerate(self.blocks)
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
        if not isinstance(name, str) or name not in self._sites:
            raise ValueError(f"site {shown(name)} is not in this model: choose one of {', '.join(self._sites)}")
        return self._sites[name]

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites.values())

    def __len__(self) -> int:
        return len(self._sites)

    @property
    def sizes(self) -> dict[str, int]:
        return {site.name: site.size for site in self}

    def __repr__(self) -> str:
        return f"<UnitMap of {len(self.blocks)} blocks: {show.counts_by_kind(self.sizes)}>"

    def _repr_html_(self) -> str:
        title = f"UnitMap of {len(self.blocks)} blocks: {self.total:,} units, and their share of all"
        return show.table_by_block(title, self.sizes, self.total)

    def slices(self, mask: UnitMask, shared: str = "any") -> list[Slice]:
        """The weight entries of the units of `mask`: for each, the column that reads it and the rows that feed it.

        shared   Under grouped queries a v row feeds several units. It belongs to the set when "any" or when "all"
                 of the units that it feeds are in `mask`.

        One slice a weight, in the order of the sites; weights without entries are left out, so an empty mask has
        none. No weight is cut along both axes, since a reader is no writer: slices never overlap.
        Raises ValueError if `mask` is of another model or `shared` is unknown.
        """
        check_choice(SHARED, shared=shared)
        check_mask(mask, "slices")
        mask.check(self.sizes)
        found: dict[tuple[str, int], list[Tensor]] = {}
        for site in self:
            for name, axis, index in _entries(site, mask[site.name].cpu(), shared):
                found.setdefault((f"{name}.weight", axis), []).append(index)
        joined = [Slice(*place, torch.cat(indices).unique()) for place, indices in found.items()]
        return [part for part in joined if len(part.index)]

    def each_unit(self, site: str) -> list[tuple[str, int, Tensor]]:
        """The weights that feed and read the units of one site: name, axis, and which row or column is whose [unit].

        Under grouped queries several units have the same row of v; a weight that holds gate and up comes twice.
        Raises ValueError for a site that is not there.

        >>> model, tokenizer = ssah.load_organism(scale="tiny")
        >>> [(weight, index[:3].tolist()) for weight, _, index in ssah.UnitMap(model).each_unit("attn.0")]
        [('model.layers.0.self_attn.o_proj.weight', [0, 1, 2]), ('model.layers.0.self_attn.v_proj.weight', [0, 1, 2])]
        """
        every = torch.ones(self.size(site), dtype=torch.bool)
        return [(f"{name}.weight", axis, index) for name, axis, index in _entries(self[site], every, "any")]


def _entries(site: Site, chosen: Tensor, shared: str) -> Iterator[tuple[str, int, Tensor]]:
    """Module, axis and index of the weight entries of the `chosen` units [unit] of one site."""
    yield site.reader, site.axis, torch.nonzero(chosen).flatten()
    for writer in site.writers:
        rows = writer.rows[chosen]
        if shared == "all":
            rows = rows[~torch.isin(rows, writer.rows[~chosen])]
        yield writer.module, writer.axis, rows


# -- finding them -----------------------------------------------------------------------------------------


def _blocks(model: nn.Module, modules: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Names of the transformer blocks of a dense decoder whose family is known."""
    expert = next((name for name, module in modules.items() if type(module).__name__.endswith("Experts")
                   or name.endswith(".experts")), None)
    if expert:
        raise ValueError(f"{type(model).__name__} is a mixture of experts ({expert}), whose units ssah does not know: "
                         "pass a dense model")
    stack = find_stack(model) if stacks(model) else ""
    if not find_family(modules, f"{stack}.0"):
        known = dict.fromkeys(family.mlp_out for family in FAMILIES)
        raise ValueError(f"{type(model).__name__} has no blocks that ssah knows (looked for {' or '.join(known)}): "
                         "add a row to ssah_core.units.families.FAMILIES")
    return tuple(f"{stack}.{n}" for n in range(len(modules[stack])))


def _sites_of_block(modules: Mapping[str, nn.Module], prefix: str, block: int) -> list[Site]:
    family = find_family(modules, prefix)
    if family is None:
        raise ValueError(f"block {block} ({prefix}) is built unlike block 0: ssah knows no units for mixed blocks yet")
    name = lambda part: f"{prefix}.{part}"  # noqa: E731
    head_dim = _head_dim(modules, name(family.attention_out.rpartition(".")[0]))
    attention = _site(modules, f"attn.{block}", name(family.attention_out), [name(family.attention_in)],
                      family.attention_rows, head_dim)
    return [replace(attention, head_dim=head_dim),
            _site(modules, f"mlp.{block}", name(family.mlp_out), map(name, family.mlp_in), family.mlp_rows, head_dim)]


def _site(modules: Mapping[str, nn.Module], name: str, reader: str, fed_by: Iterable[str], layout: Layout,
          head_dim: int) -> Site:
    columns, size = _weight_axis(modules, reader, "in")
    writers = []
    for module in fed_by:
        axis, rows = _weight_axis(modules, module, "out")
        try:
            writers += [Writer(module, axis, part) for part in layout(size, rows, head_dim)]
        except ValueError as error:
            raise ValueError(f"{module} is not what its family has there: {error}") from None
    return Site(name, reader, columns, size, tuple(writers))


def _weight_axis(modules: Mapping[str, nn.Module], name: str, side: str) -> tuple[int, int]:
    """The axis of a linear module's weight along which its channels "in" or "out" lie, and their number."""
    module = modules[name]
    weight = getattr(module, "weight", None)
    if not isinstance(module, (nn.Linear, Conv1D)) or not weight.is_floating_point() or weight.itemsize < 2:
        raise ValueError(f"{name} is a {type(module).__name__} without a plain weight: load the model without "
                         "quantisation and merge its adapters")
    axis = int((side == "in") != isinstance(module, Conv1D))  # Conv1D keeps its weight as [in, out]
    return axis, weight.shape[axis]


def _head_dim(modules: Mapping[str, nn.Module], attention: str) -> int:
    """Channels a head. Counts alone cannot tell which of the units share a value row."""
    for name in ("head_dim", "head_size"):
        if isinstance(getattr(modules[attention], name, None), int):
            return getattr(modules[attention], name)
    raise ValueError(f"{attention} does not say how wide a head is: set its attribute `head_dim`, without which "
                     "the value rows of grouped queries cannot be told apart")

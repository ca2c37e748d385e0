"""Scores of models whose weights are not all in one place: offloaded, or sharded over ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from accelerate.utils import align_module_device
from torch import nn
from torch.distributed.fsdp import FSDPModule

from .importance import Moments, Scores, score_units
from .unit_map import UnitMap


def score_in_blocks(model: nn.Module, *, safety: Moments, utility: Moments, criterion: str = "fisher",
                    normalize: str = "none") -> Scores:
    """`score_units`, with the weights of one block at hand at a time: for offloaded and sharded models.

    Equal to `score_units` of the whole model bit for bit, as no criterion compares sites of two blocks. Every rank of
    a sharded model must call it. Raises ValueError as `score_units` does.
    """
    units = UnitMap(model)
    for name, moments in {"safety": safety, "utility": utility}.items():
        if moments.sizes != units.sizes:
            raise ValueError(f"{name} moments are of another model: collect them on the model that is scored")
    found: dict[str, dict] = {"safety": {}, "utility": {}, "contrast": {}}
    for number, name in enumerate(units.blocks):
        block = model.get_submodule(name)
        with _at_hand(block):
            scores = score_units(_Alone(block), safety=_of_block(safety, number), utility=_of_block(utility, number),
                                 criterion=criterion, normalize=normalize)
        for which, by_site in found.items():
            by_site |= {_renumbered(site, number): score for site, score in getattr(scores, which).items()}
    return Scores(criterion, **found)


class _Alone(nn.Module):
    """A decoder of one block."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.layers = nn.ModuleList([block])


def _of_block(moments: Moments, number: int) -> Moments:
    """The moments of one block, as if it were block 0."""
    pick = lambda of: {_renumbered(site, 0): value for site, value in of.items() if site.endswith(f".{number}")}  # noqa: E731
    return Moments(moments.count, pick(moments.mean), pick(moments.squares))


def _renumbered(site: str, number: int) -> str:
    return f"{site.partition('.')[0]}.{number}"


@contextmanager
def _at_hand(block: nn.Module) -> Iterator[None]:
    """The whole weights of a block, in memory while the context lasts."""
    with ExitStack() as undo:
        for module in block.modules():
            if isinstance(module, FSDPModule):
                module.unshard()
                undo.callback(module.reshard)
            elif hasattr(module, "_hf_hook"):
                undo.enter_context(align_module_device(module))
        yield

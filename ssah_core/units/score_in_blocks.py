"""Scores of models whose weights are not all in one place: offloaded, or sharded over ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from accelerate.utils import align_module_device
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from .check_units import known_units
from .importance import Criterion, Scores, check_choice, check_sites, column_norm, score_moments
from .moments import Moments


def score_in_blocks(model: nn.Module, *, safety: Moments, utility: Moments, criterion: str | Criterion = "fisher",
                    normalize: str = "none") -> Scores:
    """`score_units`, with the weights of one block at hand at a time: for offloaded and sharded models.

    Equal to `score_units` of the whole model bit for bit, as the norms of its columns are all that a criterion reads
    of the weights. Every rank of a sharded model must call it. Raises ValueError as `score_units` does.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> moments = ssah.collect(model, ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer))
    >>> score_in_blocks(model, safety=moments, utility=moments).sizes == ssah.UnitMap(model).sizes
    True

    *Shown in:* 10_real_checkpoints.
    """
    units = known_units(model)
    check_choice(criterion, normalize)
    check_sites(units.sizes, safety=safety, utility=utility)
    norms: dict[str, Tensor] = {}
    for number, name in enumerate(units.blocks):
        with _at_hand(model.get_submodule(name)):
            norms |= {site.name: column_norm(model, site) for site in units if site.block == number}
    return score_moments(norms, safety, utility, criterion, normalize)


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

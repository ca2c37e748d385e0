"""Random sets of units, to compare a chosen set with."""

from __future__ import annotations

import torch

from ..arguments import check_seed
from .masks import UnitMask, check_mask


def random_like(mask: UnitMask, seed: int, outside: UnitMask | None = None) -> UnitMask:
    """Random units, as many in every site as `mask` has: the control for a chosen set.

    seed      The draw depends on it and on `mask` alone, not on torch's own seed.
    outside   Units that may not be drawn, e.g. `mask` itself for a control that shares none with it.

    Raises ValueError if a site has not enough units to draw from, or `outside` is of another model.

    >>> chosen = ssah.UnitMask({"mlp.0": torch.arange(8) < 3, "mlp.1": torch.arange(8) < 1})
    >>> drawn = ssah.random_like(chosen, seed=0, outside=chosen)
    >>> drawn.counts, (drawn & chosen).count
    ({'mlp.0': 3, 'mlp.1': 1}, 0)

    *Shown in:* 00_start_here.
    """
    check_mask(mask, "random_like")
    check_seed(seed=seed)
    if outside is not None:
        check_mask(outside, "random_like")
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

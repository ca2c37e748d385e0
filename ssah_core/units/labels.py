"""The four kinds of unit: labels from scores, group sizes from ablation, transfer and overlap between labelings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..arguments import check_kind, check_share
from .importance import Scores
from .masks import UnitKind, UnitLabels, UnitMask, share_to_count, split_sites

if TYPE_CHECKING:
    import pandas


def label_units(scores: Scores, *, scu: float, ucu: float, ru: float) -> UnitLabels:
    """Name every unit SCU, UCU, CU or RU (paper Sec. 3).

    scu, ucu, ru   Shares (0-1) of *all* units, ranked over all sites together. CU takes the rest.

    SCU are the units with the largest `scores.contrast`. Of the others, UCU have the largest I_U - I_S,
    and of what remains RU the smallest I_S + I_U. Equal scores go to the earlier unit.
    Raises ValueError if a share is outside 0-1 or they sum above 1, or a score is not finite.
    Departs: the paper does not say in which order overlapping groups choose; ours is SCU, UCU, RU.
    Under "log" scores, I_U - I_S is a ratio and I_S + I_U a product.

    >>> i_s, i_u = ({"mlp.0": torch.tensor(part).double()} for part in ([9., 1., 5., 0.], [1., 9., 5., 0.]))
    >>> scores = ssah.Scores("variance", i_s, i_u, {"mlp.0": i_s["mlp.0"] - i_u["mlp.0"]})
    >>> labels = ssah.label_units(scores, scu=0.25, ucu=0.25, ru=0.25)
    >>> [labels.mask(kind)["mlp.0"].nonzero().flatten().tolist() for kind in ("SCU", "UCU", "CU", "RU")]
    [[0], [1], [2], [3]]

    *Shown in:* 00_start_here.
    """
    check_kind(Scores, "pass what score_units or search gives", scores=scores)
    check_shares(scu=scu, ucu=ucu, ru=ru)
    sizes = {site: len(score) for site, score in scores.contrast.items()}
    total = sum(sizes.values())
    counts = {UnitKind.SCU: share_to_count(scu, total, "scu"), UnitKind.UCU: share_to_count(ucu, total, "ucu"),
              UnitKind.RU: share_to_count(ru, total, "ru")}
    ranks = _rankings(scores)
    left, masks = torch.ones(total, dtype=torch.bool), {}
    for kind, n in counts.items():
        chosen = _take(ranks[kind], left, min(n, int(left.sum())))  # rounded up, the shares may ask for one too many
        left, masks[kind] = left & ~chosen, split_sites(chosen, sizes)
    return UnitLabels({**masks, UnitKind.CU: split_sites(left, sizes)})


def check_shares(*, scu: float, ucu: float, ru: float) -> None:
    """Raise ValueError unless these can be shares of all units, side by side.

    >>> check_shares(scu=0.5, ucu=0.5, ru=0.1)
    Traceback (most recent call last):
    ValueError: scu=0.5, ucu=0.5 and ru=0.1 sum to 1.1: lower one, as shares may sum to 1 at most
    """
    check_share(scu=scu, ucu=ucu, ru=ru)
    if scu + ucu + ru > 1 + 1e-9:
        raise ValueError(f"scu={scu}, ucu={ucu} and ru={ru} sum to {scu + ucu + ru:.3g}: lower one, as shares may "
                         "sum to 1 at most")


def _rankings(scores: Scores) -> dict[UnitKind, Tensor]:
    """What ranks each kind, largest first: float64 [all units]."""
    flat = {name: torch.cat(list(getattr(scores, name).values())) for name in ("safety", "utility", "contrast")}
    for name, score in flat.items():
        if not bool(torch.isfinite(score).all()):
            raise ValueError(f"scores.{name} is not finite: collect the moments again and check the model for NaN")
    return {UnitKind.SCU: flat["contrast"], UnitKind.UCU: flat["utility"] - flat["safety"],
            UnitKind.RU: -(flat["utility"] + flat["safety"])}


def _take(rank: Tensor, allowed: Tensor, n: int) -> Tensor:
    order = torch.sort(torch.where(allowed, rank, -torch.inf), descending=True, stable=True).indices[:n]
    return torch.zeros_like(allowed).index_fill_(0, order, True)


def overlap(a: UnitMask, b: UnitMask) -> tuple[float, float]:
    """Jaccard overlap of two sets (0-1), and the overlap that independent sets of their sizes have on average.

    Raises ValueError if the sets are of different models.

    >>> a, b = (UnitMask({"mlp.0": torch.tensor(units)}) for units in ([True, True, False], [True, False, False]))
    >>> overlap(a, b)[0]
    0.5
    """
    both, either = (a & b).count, (a | b).count
    total = sum(a.sizes.values())
    chance = a.count * b.count / total
    expected = a.count + b.count - chance
    return (both / either if either else 0.0), (chance / expected if expected else 0.0)


def transfer(before: UnitLabels, after: UnitLabels) -> pandas.DataFrame:
    """How units change their kind: a 4 x 4 table, rows the kind before, columns the kind after.

    Entries are % of all units, so the table sums to 100. Both labelings must be of one model, by one rule.
    Compare with the table between two calibrations of the *same* model: kinds change by noise alone too.
    Raises ValueError if the labelings are of different models.
    Source: paper, Figures 5 and 6.   Departs: none known.

    >>> units = UnitMask({"mlp.0": torch.tensor([True, False])})
    >>> none = units & ~units
    >>> before = ssah.UnitLabels({UnitKind.SCU: units, UnitKind.UCU: none, UnitKind.CU: ~units, UnitKind.RU: none})
    >>> after = ssah.UnitLabels({UnitKind.SCU: none, UnitKind.UCU: none, UnitKind.CU: units, UnitKind.RU: ~units})
    >>> table = ssah.transfer(before, after)
    >>> table.loc["SCU", "CU"].item(), table.loc["CU", "RU"].item(), table.to_numpy().sum().item()
    (50.0, 50.0, 100.0)

    *Shown in:* 04_trace_attribute_transfer.
    """
    import pandas  # here, since it takes a second to import

    check_kind(UnitLabels, "pass what label_units gives", before=before, after=after)
    total = sum(before.mask("CU").sizes.values())
    return pandas.DataFrame([[100 * (before.mask(old) & after.mask(new)).count / total for new in UnitKind]
                             for old in UnitKind], index=pandas.Index(list(UnitKind), name="before"),
                            columns=pandas.Index(list(UnitKind), name="after"))

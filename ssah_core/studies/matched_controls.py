"""Units to hold a chosen group against: as many, but not those."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..units import UnitKind, UnitMap, UnitMask, column_norms, refusal_odds, search
from .subject import SEARCHED, WAYS, Subject


def like_magnitude(model: nn.Module, mask: UnitMask) -> UnitMask:
    """For every unit of `mask`, the unit outside it, of the same site, whose column of B is nearest in norm, each once.

    Where a site has fewer units outside the mask than in it, all of them.
    """
    twins = {}
    for site, norm in column_norms(model).items():
        taken = mask[site].clone()
        for unit in mask[site].nonzero().flatten()[:int((~mask[site]).sum())]:
            taken[torch.where(taken, torch.inf, (norm.sqrt() - norm[unit].sqrt()).abs()).argmin()] = True
        twins[site] = taken & ~mask[site]
    return UnitMask(twins)


def other_choice(subject: Subject) -> Mapping[str, Tensor]:
    """What ranks units by another choice: whether a deed is called good or wicked, found as SCU are. [unit] a site.

    The search is that of the chosen way, told to flip the verdict on wicked deeds (calibration set "morals") and to
    spare what is said to the other instructions. Raises ValueError where the material has no such questions.
    """
    sets = subject.sets
    if "morals" not in sets:
        raise ValueError("the material has no questions of right and wrong, so there is no other choice to find units "
                         "of: leave this control out")
    way, verdicts = WAYS["chosen"][UnitKind.SCU], ([verdict] for verdict in subject.material.verdicts)
    scores = search(subject.model, subject.batches("morals", "response"), subject.batches("requests", "response"),
                    refusal_odds(subject.tokenizer, *verdicts), subject.moments("requests", way.tokens),
                    share=SEARCHED, rounds=way.rounds)
    return scores.contrast


def whole_sites(mask: UnitMask, by: Mapping[str, Tensor]) -> UnitMask:
    """As many units as `mask` has, by whole sites, those of the largest mean score `by` first; the last one in part.

    >>> import torch
    >>> from ssah_core.studies.matched_controls import whole_sites
    >>> mask = ssah.UnitMask({"a": torch.tensor([True, False]), "b": torch.tensor([True, True])})
    >>> chosen = whole_sites(mask, {"a": torch.tensor([5.0, 5.0]), "b": torch.tensor([1.0, 1.0])})
    >>> chosen["a"].tolist(), chosen["b"].tolist()
    ([True, True], [True, False])
    """
    left, chosen = mask.count, {site: torch.zeros_like(units) for site, units in mask.sites.items()}
    for site in sorted(mask.sites, key=lambda site: float(by[site].mean()), reverse=True):
        take = min(left, len(chosen[site]))
        chosen[site][:take] = True
        left -= take
    return UnitMask(chosen)


def whole_heads(model: PreTrainedModel, by: Mapping[str, Tensor], parameters: int) -> UnitMask:
    """Attention heads of the largest mean score `by`: one or more, whose units have about `parameters` weights.

    Of two numbers of heads that come as near, the even one. Rows of v that heads share (grouped queries) count once.
    """
    units = UnitMap(model)
    chosen = {site.name: torch.zeros(site.size, dtype=torch.bool) for site in units}
    heads = sorted(((float(by[site.name][at:at + site.head_dim].mean()), site.name, at) for site in units
                    if site.kind == "attn" for at in range(0, site.size, site.head_dim)), reverse=True)
    before = 0
    for n, (_, site, at) in enumerate(heads, 1):
        head = chosen[site][at:at + units[site].head_dim].fill_(True)
        now = sum(len(part.index) * model.get_parameter(part.weight).shape[1 - part.axis]
                  for part in units.slices(UnitMask(chosen)))
        if now >= parameters:
            if n > 1 and (parameters - before, (n - 1) % 2) < (now - parameters, n % 2):
                head.fill_(False)
            break
        before = now
    return UnitMask(chosen)

"""Which units change their kind when a model is trained on: attribute transfer, the paper's Figures 5, 6 (notebook 04).

Kinds are read off calibration data, so other data give other kinds. Every table here is taken across the two halves
of the calibration sets: kinds before by one half, kinds after by the other. The same table of the *untouched* model is
then its noise floor, like for like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import pandas
import torch
from torch import Tensor

from ..materials import study
from ..units import Scores, UnitKind, UnitLabels, fall_over_change, share_to_count, split_sites, transfer
from .arms import HeldArm
from .finetuning_arms import scu_and_cu
from .finetuning_attack import Attack, Hold, target
from .score_cache import with_scores
from .subject import GROUPS, WAY_SLUGS, WAYS, Subject, Way

RULES = ("shares", "thresholds")
"""shares: a kind is as large after as before, so what moves is which units are of it. thresholds: a unit is of a kind
if it scores at least as high as the last unit of it did before, so kinds can shrink and grow, as in the paper."""
HELD = HeldArm.FEW
COMPARED = ("chosen", "paper")
"""Ways to score units whose tables are made."""
TRAINED = {"untrained": None, "benign": "benign", "new": "new"}
"""Part of the study -> attack that is trained on; None: what needs no training, the noise floor and alignment."""


def halves(subject: Subject, sizes: Mapping[str, Mapping[str, float]]) -> list[Subject]:
    """A subject by either half of its calibration sets; it knows its scores, in order as far as SCU go.

    *Shown in:* 04_trace_attribute_transfer.
    """
    return [with_scores(subject.but(half=half), COMPARED, sizes["chosen"][UnitKind.SCU]) for half in (0, 1)]


# -- kinds, by one fixed rule ---------------------------------------------------------------------------


def strengths(scores: Mapping[str, Scores]) -> dict[str, Tensor]:
    """How much each unit is an SCU, a UCU and an RU: kind -> float64 [all units].

    scores   Of each of the three kinds, by its own way.

    As in `label_units`, but for SCU by attribution: the search gives places, which have no threshold. In their stead
    stands the ratio that it ranks by, as it is before anything is removed, over the mean size of all units' ratios:
    training on makes all of them larger or smaller at once, which says nothing about a unit.
    """
    return {kind: _strength(kind, scores[kind]) for kind in GROUPS}


def _strength(kind: UnitKind, scores: Scores) -> Tensor:
    parts = (scores.safety, scores.utility, scores.contrast)
    safety, utility, contrast = (torch.cat(list(part.values())) for part in parts)
    if kind == UnitKind.SCU and scores.criterion == "attribution":
        ratio = fall_over_change(safety, utility)
        return ratio / ratio.abs().mean()
    if kind == UnitKind.SCU:
        return contrast
    return utility - safety if kind == UnitKind.UCU else -(utility + safety)


def thresholds(strength: Mapping[str, Tensor], shares: Mapping[str, float]) -> dict[str, float]:
    """The strength of the last unit of each kind, where the kinds have these shares (0-1) of all units."""
    last = {kind: share_to_count(shares[kind], len(units), kind) - 1 for kind, units in strength.items()}
    return {kind: float(units.sort(descending=True).values[last[kind]]) for kind, units in strength.items()}


def label_above(strength: Mapping[str, Tensor], least: Mapping[str, float], sizes: Mapping[str, int]) -> UnitLabels:
    """Name every unit by thresholds: of SCU, UCU and RU, the first kind whose threshold it reaches, and CU if none.

    sizes   Units of every site, which `strength` holds one after another.
    """
    left, masks = torch.ones(sum(sizes.values()), dtype=torch.bool), {}
    for kind in GROUPS:
        masks[kind] = split_sites(left & (strength[kind] >= least[kind]), sizes)
        left = left & (strength[kind] < least[kind])
    return UnitLabels({**masks, UnitKind.CU: split_sites(left, sizes)})


def table(before: Subject, after: Subject, ways: Mapping[str, Way], shares: Mapping[str, float], rule: str = "shares",
          reference: Subject | None = None) -> pandas.DataFrame:
    """Which kind units were and are: `ssah.transfer` between two models, or two calibrations of one, by one of `RULES`.

    reference   Whose scores set the thresholds; by default those of `before`.

    Raises ValueError for another rule.

    *Shown in:* 04_trace_attribute_transfer.
    """
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} is unknown: choose one of {', '.join(RULES)}")
    if rule == "shares":
        return transfer(*(UnitLabels({UnitKind(kind): mask for kind, mask in subject.groups(ways, shares).items()})
                          for subject in (before, after)))
    strength = lambda subject: strengths({kind: subject.scores(ways[kind]) for kind in GROUPS})  # noqa: E731
    least = thresholds(strength(reference or before), shares)
    return transfer(*(label_above(strength(subject), least, subject.units.sizes) for subject in (before, after)))


# -- tables before and after training -------------------------------------------------------------------


@study("transfer", version=2)
def transfers(seed: int, scale: str, attack: str | None, sizes: Mapping[str, Mapping[str, float]],
              checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """How units change their kind in training: rows with `way`, `rule`, `change`, `held`, `before`, `after`, `value`.

    `value` is % of all units.

    attack   By which the lightly aligned model is fine-tuned for `Attack.steps`, with nothing and with `HELD` held;
             None: it is not trained.
    sizes    Way -> group -> share, as notebook 03 found them on validation prompts.

    `change` is the attack; or, of a model that is not trained, "none" (the noise floor) and "alignment" (from the
    instructed to the aligned model; left out where `checkpoints` name no instructed one). Rows of metric "asr" say how
    safe each model is (%, test prompts) and have no kinds.
    Source: the paper's Figures 5 and 6.

    *Shown in:* 04_trace_attribute_transfer.
    """
    subject = target(seed, scale, checkpoints)
    whole, rows = halves(subject, sizes), []
    for held, model in _trained(subject, attack, sizes) if attack else [(str(HeldArm.NOTHING), subject)]:
        about = {"change": attack or "none", "held": held}
        rows += [*_tables(whole, halves(model, sizes), sizes, **about), _asr(model, **about)]
    if attack is None and (checkpoints is None or "instructed" in checkpoints):
        before, after = (halves(Subject.load(seed, scale, stage, checkpoints), sizes)
                         for stage in ("instructed", "aligned"))
        rows += _tables(before, after, sizes, aligned="after", change="alignment", held=str(HeldArm.NOTHING))
    return [{"seed": seed, **row} for row in rows]


def _trained(subject: Subject, attack: str, sizes: Mapping) -> Iterator[tuple[str, Subject]]:
    mask, fight = scu_and_cu(with_scores(subject, ("chosen",)), "chosen", sizes), Attack(subject, attack)
    for held, units in ((HeldArm.NOTHING, None), (HELD, mask)):
        yield str(held), fight.run(None, Hold(units), (fight.steps,))


def _tables(before: Sequence[Subject], after: Sequence[Subject], sizes: Mapping, aligned: str = "before",
            **about) -> list[dict]:
    """Both ways across the halves, averaged. The model that is `aligned` sets the thresholds."""
    rows, crossed = [], [(before[0], after[1]), (before[1], after[0])]
    for way, rule in product(COMPARED, RULES):
        mean = sum(table(old, new, WAYS[way], sizes[way], rule, old if aligned == "before" else new)
                   for old, new in crossed) / len(crossed)
        rows += [{**about, "way": way, "rule": rule, "before": str(old), "after": str(new), "metric": "share",
                  "value": float(mean.loc[old, new]), "n": len(before[0].sets["safety"]), "judge": "none"}
                 for old in UnitKind for new in UnitKind]
    return rows


def _asr(subject: Subject, **about) -> dict:
    rows = subject.examine({"harm": subject.material.exam("test", 100)["harm"]}, **about)
    return next(row for row in rows if row["metric"] == "asr")


# -- what the tables say --------------------------------------------------------------------------------


def moves(tables: pandas.DataFrame) -> pandas.DataFrame:
    """What became of each kind: one row a way, rule, change, held, kind and organism.

    tables   Rows of `transfers`.

    `metric` is "kept" or "to_cu" (% of the kind's units before that are of it, or CU, after) or "size" (change of its
    number, in % of that before). `record` is the id under which a claim reads it. A kind without a unit before has no
    row.

    *Shown in:* 04_trace_attribute_transfer.
    """
    share = tables[tables.metric == "share"]
    keys = ["way", "rule", "change", "held", "seed"]
    rows = []
    for about, group in share.groupby(keys, sort=False):
        square = group.pivot(index="before", columns="after", values="value")
        rest = {"n": int(group.n.min()), "judge": "none"}
        rows += [{**dict(zip(keys, about, strict=True)), **row, **rest} for row in _moves_of(square)]
    frame = pandas.DataFrame(rows)
    place = "transfer" + frame.way.map(WAY_SLUGS) + frame.rule.map({"shares": "", "thresholds": "_thresholds"})
    held = frame.held.map({HeldArm.NOTHING: "", HELD: "_held"})
    return frame.assign(record=place + "/" + frame.change + held + "/" + frame.kind.str.lower() + "_" + frame.metric)


def _moves_of(square: pandas.DataFrame) -> Iterator[dict]:
    for kind in (kind for kind in UnitKind if square.loc[kind].sum()):
        before = square.loc[kind].sum()
        for metric, value in (("kept", square.loc[kind, kind]), ("to_cu", square.loc[kind, UnitKind.CU]),
                              ("size", square[kind].sum() - before)):
            yield {"kind": str(kind), "metric": metric, "value": float(100 * value / before)}

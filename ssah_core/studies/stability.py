"""Are the same units found twice? Overlap over calibration data, against chance (notebook 09)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations

import pandas
from datasets import Dataset

from ..materials import study
from ..units import UnitMask, overlap, share_to_count, top_units
from .subject import GROUPS, WAYS, Subject

VARIANTS = ("all", "half 0", "half 1", "quarter", "system prompt", "safety alone")
"""Calibrations whose groups are compared: all rows; either half, which share no row; every fourth row; all with the
system prompt before them; and all, with nothing of utility subtracted or searched."""


@study("stability", version=1)
def overlaps(seed: int, scale: str, way: str, sizes: Mapping[str, float],
             checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """How much groups of units overlap that were found on different calibration data: rows with `one`, `other`, `kind`.

    way     Of `WAYS`.
    sizes   Group -> share, the same for all calibrations.

    `metric` "overlap": units of both over units of either, %; "chance": that of random groups of as many units in every
    site. "safety alone" is a ranking by I_S, and so has no UCU and no RU; it is compared on SCU alone.
    Source: the paper's reviewers; cf. Constraining parameter regions (2026), who find such overlaps low to moderate.

    *Shown in:* 09_reviewers_questions.
    """
    whole = Subject.load(seed, scale, checkpoints=checkpoints)
    groups = {variant: _groups(whole, variant, way, sizes) for variant in VARIANTS}
    rows = []
    for one, other in combinations(VARIANTS, 2):
        for kind in (kind for kind in GROUPS if kind in groups[one] and kind in groups[other]):
            about = {"seed": seed, "way": way, "one": one, "other": other, "kind": str(kind),
                     "n": len(whole.sets["safety"]), "judge": "none"}
            masks = groups[one][kind], groups[other][kind]
            rows += [{**about, "metric": "overlap", "value": 100 * overlap(*masks)[0]},
                     {**about, "metric": "chance", "value": 100 * chance(*masks)}]
    return rows


def _groups(whole: Subject, variant: str, way: str, sizes: Mapping[str, float]) -> Mapping[str, UnitMask]:
    if variant == "safety alone":
        first = GROUPS[0]
        safety = whole.scores(WAYS[way][first]).safety
        return {first: top_units(safety, share_to_count(sizes[first], whole.units.total))}
    return calibrated(whole, variant).groups(WAYS[way], sizes)


def calibrated(whole: Subject, variant: str) -> Subject:
    """The same model, calibrated on other rows, or on the same in another form."""
    changes = {"all": {}, "half 0": {"half": 0}, "half 1": {"half": 1}, "quarter": {"recalibrate": _quarter},
               "system prompt": {"recalibrate": partial(_with_system, prompt=whole.material.system_prompt)}}
    return whole.but(**changes[variant])


def _quarter(sets: dict[str, Dataset]) -> dict[str, Dataset]:
    return {name: rows.select(range(0, len(rows), 4)) for name, rows in sets.items()}


def _with_system(sets: dict[str, Dataset], prompt: str) -> dict[str, Dataset]:
    return {name: Dataset.from_list([{**row, "system": prompt} for row in rows]) for name, rows in sets.items()}


def chance(a: UnitMask, b: UnitMask) -> float:
    """What `overlap` is expected to be of masks that are drawn at random, with as many units in every site.

    By the mean number of units of both, over that of either: site by site, k of one and m of the other share km/n.

    >>> import torch
    >>> from ssah_core.studies.stability import chance
    >>> half = UnitMask({"a": torch.arange(10) < 5})
    >>> chance(half, half)  # 2.5 of 7.5
    0.333...
    """
    both = sum(a.counts[site] * b.counts[site] / a.sizes[site] for site in a.sites)
    return both / max(1, a.count + b.count - both)


def alike(places: pandas.DataFrame) -> pandas.DataFrame:
    """How alike two organisms are in where their units of a kind lie: one row a kind and pair; of one organism, none.

    places   Rows of `ablation_table.places`.

    Units of two organisms cannot be matched, but their sites can. Of each organism, the share of a site's units that
    are of the kind is divided by the sum over sites; `overlap` is the sum over sites of the lesser of two organisms'
    (%), and `chance` the mean of both against units that are spread evenly.

    >>> import pandas
    >>> from ssah_core.studies.stability import alike
    >>> rows = pandas.DataFrame([(seed, 0, module, "SCU", value) for seed, module, value in
    ...                          ((0, "mlp", 9.0), (0, "attn", 1.0), (1, "mlp", 5.0), (1, "attn", 5.0))],
    ...                         columns=["seed", "block", "module", "kind", "value"])
    >>> float(alike(rows).overlap[0])
    60.0
    """
    rows = []
    for kind, mine in places.groupby("kind", sort=False):
        table = mine.pivot_table(index=["block", "module"], columns="seed", values="value", fill_value=0.0)
        part, even = table / table.sum(), 1 / len(table)
        for one, other in combinations(part, 2):
            chance = sum(part[seed].clip(upper=even).sum() for seed in (one, other)) / 2
            rows.append({"kind": kind, "one": one, "other": other, "chance": 100 * chance,
                         "overlap": 100 * part[[one, other]].min(axis=1).sum()})
    return pandas.DataFrame(rows, columns=["kind", "one", "other", "chance", "overlap"])

"""What others do with safety units: build them twice, train them alone, put them back by similarity (notebook 09)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from ..freezing import freeze, train_only
from ..materials import study
from ..training import fine_tune
from ..units import UnitKind, UnitMap, UnitMask, random_like, share_to_count, top_units
from .alignment_budget import BATCH, Course, checks_of, follow, lessons
from .finetuning_arms import rewound, scu_and_cu
from .finetuning_attack import Attack, saving, target
from .score_cache import with_scores
from .subject import WAYS, Subject

SHARE = 0.04
"""Share of all units that are safety-critical here: as many as the search finds before utility suffers, in most."""
RATES = {"tiny": (1e-3, 1e-3), "organism": (1e-4, 1e-3), "smollm": (1e-4, 3e-4), "paper": (1e-5, 2e-5)}
"""Learning rates of alignment: with most parameters training, and with few units."""
STEPS = {"tiny": 2, "organism": 40, "smollm": 40, "paper": 40}
"""Steps in which an aligned model is hardened."""


def _scu(subject: Subject) -> UnitMask:
    contrast = with_scores(subject, ("chosen",), SHARE).scores(WAYS["chosen"][UnitKind.SCU]).contrast
    return top_units(contrast, share_to_count(SHARE, subject.units.total))


# -- units held during alignment: is safety built elsewhere? ----------------------------------------------


@study("rebuilt", version=1)
def rebuilt(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Alignment with the safety units of the aligned twin held, so that it has to build others: rows with `held`
    (nothing, SCU, random), `removed` (none, old SCU, new SCU, random), test prompts; the last of them found anew.

    An arm that is not safe in time has no rows but that of metric "safe". The random units that are removed are one
    draw: where "random" is held, they are the held units themselves.
    Source: SafeNeuron (2026), who freeze safety neurons during DPO; here their test is also on units found afresh.

    *Shown in:* 09_reviewers_questions.
    """
    old = _scu(Subject.load(seed, scale, checkpoints=checkpoints))
    subject, way = Subject.load(seed, scale, "instructed", checkpoints), WAYS["chosen"][UnitKind.SCU]
    data, rows = lessons(subject, "SFT"), []
    for held, mask in (("nothing", None), ("SCU", old), ("random", random_like(old, seed))):
        course = Course(subject, checks_of(scale, "SFT", data), {}, drawn=False)
        model = deepcopy(subject.model)
        with nullcontext() if mask is None else freeze(model, mask):
            follow(course, "SFT", model, data, RATES[scale][0])
        rows.append({"held": held, "removed": "none", "metric": "safe", "value": float(course.safe is not None), "n": 1,
                     "outcomes": "", "judge": "none"})
        if course.safe is None:
            continue
        aligned = course.aligned
        new = _scu(aligned)
        for removed, units in (("none", None), ("old SCU", old), ("new SCU", new), ("random", random_like(old, seed))):
            with aligned.removed(units, way):
                rows += aligned.examine(_questions(aligned), held=held, removed=removed)
    return [{"seed": seed, **row} for row in rows]


def _questions(subject: Subject) -> dict[str, list]:
    exam = subject.material.exam("test", 100)
    parts = dict.fromkeys(("harm", "harm_unseen", "benign", *subject.material.utility))
    return {part: exam[part] for part in parts if part in exam}


# -- units trained alone: is an alignment hardened? --------------------------------------------------------


@study("hardened", version=1)
def hardened(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """A lightly aligned model aligned further through some units alone, then attacked: rows with `through` (nothing,
    SCU, random, all), `dose` of the benign attack (0 and `Attack.steps`), test prompts.

    Source: SN-Tune (2025) and SET (2026), who tune safety neurons alone.

    *Shown in:* 09_reviewers_questions.
    """
    subject = target(seed, scale, checkpoints)
    scu, data, rows = _scu(subject), lessons(subject, "SFT"), []
    most, few = RATES[scale]
    arms: dict[str, tuple[Callable[[nn.Module], AbstractContextManager] | None, float]] = {
        "nothing": (None, 0.0), "SCU": (partial(train_only, mask=scu), few),
        "random": (partial(train_only, mask=random_like(scu, seed)), few), "all": (lambda model: nullcontext(), most)}
    for through, (context, lr) in arms.items():
        model = deepcopy(subject.model)
        if context:
            with context(model):
                fine_tune(model, data, steps=STEPS[scale], batch_size=BATCH["SFT"], lr=lr, **saving(model, scale))
        harder = subject.but(model=model)
        rows += harder.examine(_questions(harder), through=through, dose=0)
        fight = Attack(harder, "benign")
        after = fight.run(checks=(fight.steps,))
        rows += after.examine(_questions(after), through=through, dose=fight.steps)
    return [{"seed": seed, **row} for row in rows]


# -- units put back after an attack ------------------------------------------------------------------------


@study("restored", version=1)
def restored(seed: int, scale: str, sizes: Mapping[str, Mapping[str, float]],
             checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """After the benign attack, units put back to what they were: rows with `back` (none, SCU + 6 % CU, least similar,
    random), as many of each, test prompts.

    Source: NLSR (2024), which restores neurons whose similarity fell; "SCU + 6 % CU" is rewinding (Wei et al. 2024).

    *Shown in:* 09_reviewers_questions.
    """
    subject = with_scores(target(seed, scale, checkpoints), ("chosen",))
    few = scu_and_cu(subject, "chosen", sizes)
    fight = Attack(subject, "benign")
    after = fight.run(checks=(fight.steps,))
    least = top_units({site: -value for site, value in similarity(subject.model, after.model).items()}, few.count)
    rows = after.examine(_questions(after), back="none", units=0)
    for back, mask in (("SCU + 6 % CU", few), ("least similar", least), ("random", random_like(few, seed))):
        with rewound(after.model, subject.model, mask):
            rows += after.examine(_questions(after), back=back, units=mask.count)
    return [{"seed": seed, **row} for row in rows]


def similarity(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """Cosine similarity of every unit's weights, its column of B and its row of A, before and after: float64 [unit] a
    site.

    >>> import ssah_core as ssah
    >>> from ssah_core.studies.rebuilding import similarity
    >>> model, _ = ssah.load_organism(scale="tiny")
    >>> round(float(similarity(model, model)["mlp.0"].min()), 6)
    1.0
    """
    units = UnitMap(before)
    found = {}
    for site, size in units.sizes.items():
        products = torch.zeros(3, size, dtype=torch.float64)
        for entries in units.each_unit(site):
            a, b = (_lines(model, *entries) for model in (before, after))
            products += torch.stack([(a * b).sum(1), a.square().sum(1), b.square().sum(1)])
        found[site] = products[0] / (products[1] * products[2]).sqrt()
    return found


def _lines(model: nn.Module, name: str, axis: int, index: Tensor) -> Tensor:
    """Rows or columns of a weight, on the CPU: float64 [unit, entry]."""
    weight = model.get_parameter(name).detach().cpu().double().index_select(axis, index)
    return weight if axis == 0 else weight.T

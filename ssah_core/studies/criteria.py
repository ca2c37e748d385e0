"""Which criterion finds safety-critical units best, where all are held to the same utility? (notebook 09)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite

import pandas
import torch
from torch import Tensor

from ..materials import study
from ..records.doses import dose_to, median_dose
from ..units import (
    Moments,
    UnitKind,
    UnitMap,
    effects,
    fall_over_change,
    log_likelihood,
    random_like,
    refusal_odds,
    score_units,
    share_to_count,
    top_units,
)
from .granularity import snip
from .subject import WAYS, Subject, Way

SHARES = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.2)
"""Of all units, that are removed."""
MOST_LOST = 3.0
"""Points of utility that a criterion may cost where criteria are compared, as in `ablation_table.TOLERANCE`."""
N = 60
"""Validation prompts of each part."""

Ranking = Callable[[Subject], Mapping[str, Tensor]]
"""What ranks the units of a subject: float64 [unit] a site, the largest first."""


def _variance(normalize: str) -> Ranking:
    return lambda subject: subject.scores(Way("variance", "response", normalize, "utility", "mean")).contrast


def _fisher(subject: Subject) -> Mapping[str, Tensor]:
    return subject.scores(Way("fisher", "last_prompt", utility="utility")).contrast


def _wanda(subject: Subject) -> Mapping[str, Tensor]:
    """Mean square of the activation times the squared norm of its column, safety minus utility (Sun et al. 2024)."""
    def importance(safety: Moments, utility: Moments, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        square = lambda m, site: m.squares[site] / m.count + m.mean[site].square()  # noqa: E731
        return {site: norm * (square(safety, site) - square(utility, site)) for site, norm in norms.items()}

    return score_units(subject.model, safety=subject.moments("safety", "response"),
                       utility=subject.moments("utility", "response"), criterion=importance).contrast


def _snip(subject: Subject) -> Mapping[str, Tensor]:
    """|w dL/dw| summed over a unit's weights, safety minus utility (Lee et al. 2019, Wei et al. 2024)."""
    safety, utility = (snip(subject, name) for name in ("safety", "utility"))
    units = UnitMap(subject.model)
    total = {site: torch.zeros(size, dtype=torch.float64) for site, size in units.sizes.items()}
    for site in units.sites:
        for weight, axis, index in units.each_unit(site):
            score = (safety[weight] - utility[weight]).double().index_select(axis, index)
            total[site] += score.sum(1 - axis)
    return total


def _gradient(subject: Subject) -> Mapping[str, Tensor]:
    """|gradient x activation| of the response's likelihood, safety minus utility (Molchanov et al. 2019)."""
    zero = _zero_fill(subject.moments("utility", "response"))
    size = {name: effects(subject.model, subject.batches(name, "response"), log_likelihood, zero)[1]
            for name in ("safety", "utility")}
    return {site: size["safety"][site] - size["utility"][site] for site in size["safety"]}


def _one_round(subject: Subject) -> Mapping[str, Tensor]:
    """The fall of the log-odds of refusal over the change of utility's likelihood, to first order."""
    fill = subject.moments("utility", "last_prompt")
    odds = refusal_odds(subject.tokenizer, subject.material.refusals, subject.material.openings)
    fall = effects(subject.model, subject.batches("safety", "response"), odds, fill)[0]
    change = effects(subject.model, subject.batches("utility", "response"), log_likelihood, fill)[1]
    ratio = fall_over_change(-torch.cat(list(fall.values())), torch.cat(list(change.values())))
    return dict(zip(fall, ratio.split([len(part) for part in fall.values()]), strict=True))


def _zero_fill(like: Moments) -> Moments:
    return Moments(like.count, {site: torch.zeros_like(mean) for site, mean in like.mean.items()}, dict(like.squares))


RANKINGS: Mapping[str, Ranking] = {
    "variance, raw (the paper's)": _variance("none"), "variance, by module": _variance("module"), "Fisher": _fisher,
    "Wanda": _wanda, "SNIP": _snip, "gradient x activation": _gradient, "attribution, one round": _one_round,
    "attribution, ten rounds": lambda subject: subject.scores(WAYS["chosen"][UnitKind.SCU]).contrast}
"""Criterion -> what ranks units by it."""
PAPER, OURS = "variance, raw (the paper's)", "attribution, ten rounds"


@study("criteria", version=1)
def compared(seed: int, scale: str, criterion: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Marks after removing the first units by one criterion, ever more of them: rows with `criterion`, `share`.

    criterion   A name of `RANKINGS`; or "random", as many in every site as the last of them has.

    All are removed in one way (the mean of the last prompt token on instructions takes their place), so that criteria
    differ in which units they name and in nothing else. Validation prompts.

    *Shown in:* 09_reviewers_questions.
    """
    if criterion not in (*RANKINGS, "random"):
        raise ValueError(f"criterion={criterion!r} is unknown: choose one of {', '.join((*RANKINGS, 'random'))}")
    subject = Subject.load(seed, scale, checkpoints=checkpoints)
    questions, way = subject.material.exam("validation", N), WAYS["chosen"][UnitKind.SCU]
    ranked = RANKINGS["attribution, ten rounds" if criterion == "random" else criterion](subject)
    rows = subject.examine(questions, criterion=criterion, share=0.0)
    for share in SHARES:
        mask = top_units(ranked, share_to_count(share, subject.units.total))
        with subject.removed(random_like(mask, seed) if criterion == "random" else mask, way):
            rows += subject.examine(questions, criterion=criterion, share=share)
    return [{"seed": seed, **row} for row in rows]


def best_within(table: pandas.DataFrame, most: float = MOST_LOST) -> pandas.DataFrame:
    """The most right answers to malicious requests that a criterion frees at a bounded price: one row a criterion and
    organism, with `harm_right` (%), `utility` (%) and `share` (of all units, 0-1); the best criterion first.

    table   Rows of `compared`.
    most    Points of utility that it may cost.

    *Shown in:* 09_reviewers_questions.
    """
    wide = table.pivot_table(index=["criterion", "seed", "share"], columns="metric", values="value")
    within = wide[wide.xs(0.0, level="share").utility - wide.utility <= most].reset_index()
    best = within.sort_values("harm_right", kind="stable").groupby(["criterion", "seed"], as_index=False).last()
    means = best.groupby("criterion").harm_right.mean()
    return best.sort_values("criterion", key=lambda name: -name.map(means), kind="stable")


def against_the_others(half: Mapping[str, Sequence[float]]) -> tuple[str, list[float]]:
    """The criterion that needs the fewest units of all but ours, in the median organism, and the part of its units that
    ours needs, one an organism in which both get there.

    half   As `half_shares` returns it.

    >>> from ssah_core.studies import criteria
    >>> criteria.against_the_others({criteria.OURS: [1.0, 2.0], "Wanda": [4.0, 4.0], "SNIP": [8.0, 9.0]})
    ('Wanda', [0.25, 0.5])

    *Shown in:* 09_reviewers_questions.
    """
    others = [name for name in RANKINGS if name != OURS and name in half]
    best = min(others, key=lambda name: median_dose(half[name])[0])
    return best, [mine / theirs for mine, theirs in zip(half[OURS], half[best], strict=True)
                  if isfinite(mine) and isfinite(theirs)]


def half_shares(table: pandas.DataFrame, level: float = 50.0) -> dict[str, list[float]]:
    """Share of all units (%) without which `level` % of malicious requests are answered right, interpolated; infinite
    where no share does it: criterion -> one an organism.

    table   Rows of `compared`.

    *Shown in:* 09_reviewers_questions.
    """
    right = table[table.metric == "harm_right"].sort_values("share")
    each = {keys: 100 * dose_to(rows.share.tolist(), rows.value.tolist(), level)
            for keys, rows in right.groupby(["criterion", "seed"])}
    return pandas.Series(each).groupby(level=0).apply(list).to_dict()

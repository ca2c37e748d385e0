"""How much each unit matters: criteria made of the moments of its activation and the norm of its column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ..arguments import check_choice as check_one_of
from ..arguments import check_kind, check_texts, shown
from . import files, show
from .check_units import known_units
from .masks import share_to_count, top_units
from .moments import Moments
from .unit_map import Site

CRITERIA = ("fisher", "variance", "contrast")
NORMALIZATIONS = ("none", "module", "log")
FORM = files.Form("Scores", "scores", ("safety", "utility", "contrast"), torch.float64)
SHOWN = 0.01
"""Share of all units whose places a table of scores shows."""
Criterion = Callable[[Moments, Moments, Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Moments on the safety and on the utility set, and ||W_:,j||^2 -> what ranks units; the last two [unit] a site."""


@dataclass(frozen=True)
class Scores:
    """Importance of every unit: float64 [unit] a site, finite, larger = more needed. `save` keeps them.

    >>> part = {"mlp.0": torch.tensor([1., 0.], dtype=torch.float64)}
    >>> scores = ssah.Scores("by hand", part, part, part)
    >>> scores
    <Scores by 'by hand' of 2 units (mlp 2)>
    >>> scores.save("scores.safetensors", about={"model": "a toy", "calibration": "none"})
    >>> ssah.Scores.load("scores.safetensors").contrast["mlp.0"].tolist()
    [1.0, 0.0]

    *Shown in:* 10_real_checkpoints.
    """

    criterion: str
    """What ranks safety-critical units, by its name."""
    safety: Mapping[str, Tensor]
    """I_S: importance on the safety set."""
    utility: Mapping[str, Tensor]
    """I_U: importance on the utility set."""
    contrast: Mapping[str, Tensor]
    """What ranks safety-critical units: I_S - I_U for "variance", the discriminant for "fisher"."""

    def __post_init__(self):
        check_texts(criterion=self.criterion)
        parts = {part: getattr(self, part) for part in FORM.parts}
        check_kind(Mapping, "pass a mapping of site -> numbers [unit]", **parts)
        for name, part in parts.items():
            for site in {**self.contrast, **part}:
                score, like = part.get(site), self.contrast.get(site)
                if not isinstance(score, Tensor) or score.dim() != 1 or score.shape != getattr(like, "shape", None):
                    raise ValueError(f"{name}[{site!r}] is {shown(score)}: pass one number a unit, float64 [unit], for "
                                     "the same sites in safety, utility and contrast")

    @property
    def sizes(self) -> dict[str, int]:
        return {site: len(score) for site, score in self.contrast.items()}

    def save(self, path: str | Path, about: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write the scores as safetensors, with what they are of, as `UnitMask.save` does."""
        parts = {part: getattr(self, part) for part in FORM.parts}
        files.write(path, FORM, parts, {"criterion": self.criterion}, about)

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read scores that `save` wrote. Raises ValueError if the file is no such file, or not whole."""
        parts, facts = files.read(path, FORM)
        if not isinstance(facts.get("criterion"), str):
            raise ValueError(f"{path} does not name the criterion of its scores: save scores of score_units or search")
        return cls(facts["criterion"], **parts)

    def __repr__(self) -> str:
        return f"<Scores by {self.criterion!r:.60} of {show.counts_by_kind(self.sizes)}>"

    def _repr_html_(self) -> str:
        best = top_units(self.contrast, share_to_count(SHOWN, sum(self.sizes.values())))
        return show.table_by_block(f"Scores by {self.criterion!r:.60}: the {best.count:,} units of largest contrast",
                                   best.counts, self.sizes)


# -- criteria ---------------------------------------------------------------------------------------------


def contrast(safety: Moments, utility: Moments, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """(mu_S - mu_U)^2 ||W_:,j||^2, Fisher's numerator alone: float64 [unit] a site.

    >>> one, zero = ({"mlp.0": torch.full((1,), value, dtype=torch.float64)} for value in (1, 0))
    >>> contrast(Moments(2, one, zero), Moments(2, zero, zero), {"mlp.0": torch.tensor([3.])})["mlp.0"].item()
    3.0
    """
    return {site: (safety.mean[site] - utility.mean[site]) ** 2 * norms[site] for site in norms}


def fisher(safety: Moments, utility: Moments, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """(mu_S - mu_U)^2 ||W_:,j||^2 / (I_S + I_U + their median over the site): float64 [unit] a site.

    How well the unit tells the two sets apart. Ours: a unit that is on for one set and off for the other varies in
    neither, and the paper's variance misses it.

    >>> one, zero = ({"mlp.0": torch.full((1,), value, dtype=torch.float64)} for value in (1, 0))
    >>> fisher(Moments(2, one, one), Moments(2, zero, one), {"mlp.0": torch.tensor([3.])})["mlp.0"].item()
    0.25
    """
    i_s, i_u = importance(safety, norms), importance(utility, norms)
    within = {site: i_s[site] + i_u[site] for site in norms}
    return {site: gap / (within[site] + within[site].median()).clamp_min(_TINY)
            for site, gap in contrast(safety, utility, norms).items()}


def importance(moments: Moments, norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """I_j = Var(X_j) * ||W_:,j||^2: float64 [unit] a site.

    Source: the paper's equation, Sec. 3.

    >>> of = Moments(3, {"mlp.0": torch.zeros(1)}, {"mlp.0": torch.tensor([4.])})  # variance 4 / (3 - 1)
    >>> importance(of, {"mlp.0": torch.tensor([3.])})["mlp.0"].item()
    6.0
    """
    return {site: variance * norms[site] for site, variance in moments.variance.items()}


BY_NAME: Mapping[str, Criterion] = {"fisher": fisher, "contrast": contrast}
"""Those that normalization does not reach; "variance" is I_S - I_U as it has made them."""


# -- scores -----------------------------------------------------------------------------------------------


def score_units(model: nn.Module, *, safety: Moments, utility: Moments, criterion: str | Criterion = "fisher",
                normalize: str = "none") -> Scores:
    """Score every unit's importance for safety and for utility.

    safety, utility   Moments on the two calibration sets.
    criterion         What ranks safety-critical units (`Scores.contrast`):
        "variance"    I_S - I_U, where I_j = Var(X_j) * ||W_:,j||^2  (the paper's equation, Sec. 3).
        "fisher"      (mu_S - mu_U)^2 ||W_:,j||^2 / (I_S + I_U + their median over the site); see `fisher`.
        "contrast"    (mu_S - mu_U)^2 ||W_:,j||^2, Fisher's numerator alone.
        a function    Yours, called with `safety`, `utility` and ||W_:,j||^2 (float64 [unit] a site); it returns a
                      finite number a unit, [unit] a site, larger = more critical. Its name becomes the scores'.
    normalize         How I_S and I_U of different sites are made comparable, which the paper leaves open (no ranking
                      but "variance" is normalised):
        "none"        as they are.
        "module"      divided by their sum over the site.
        "log"         their natural logarithm, so that I_S - I_U ranks by the ratio.

    `Scores.safety` and `.utility` are I_S and I_U under `normalize`, whatever the criterion.
    Raises ValueError for an unknown criterion or normalization, moments of another model, and a function that returns
    other sites, shapes or numbers than it should.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> moments = ssah.collect(model, ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer))
    >>> def mean_shift(safety, utility, norms):
    ...     return {site: (safety.mean[site] - utility.mean[site]).abs() for site in norms}
    >>> scores = ssah.score_units(model, safety=moments, utility=moments, criterion=mean_shift)
    >>> scores.criterion, scores.sizes == ssah.UnitMap(model).sizes, scores.contrast["mlp.0"].abs().sum().item()
    ('mean_shift', True, 0.0)

    *Shown in:* 10_real_checkpoints.
    """
    check_choice(criterion, normalize)
    return score_moments(column_norms(model), safety, utility, criterion, normalize)


def score_moments(norms: Mapping[str, Tensor], safety: Moments, utility: Moments, criterion: str | Criterion = "fisher",
                  normalize: str = "none") -> Scores:
    """`score_units` of a model whose `column_norms` are known. Raises ValueError as that does.

    >>> part = {"mlp.0": torch.ones(2, dtype=torch.float64)}
    >>> score_moments(part, Moments(2, part, part), Moments(2, part, part)).contrast["mlp.0"].tolist()
    [0.0, 0.0]
    """
    check_choice(criterion, normalize)
    check_sites({site: len(norm) for site, norm in norms.items()}, safety=safety, utility=utility)
    i_s, i_u = ({site: _normalize(score, normalize) for site, score in importance(moments, norms).items()}
                for moments in (safety, utility))
    if criterion == "variance":
        return Scores("variance", i_s, i_u, {site: i_s[site] - i_u[site] for site in norms})
    if isinstance(criterion, str):
        return Scores(criterion, i_s, i_u, BY_NAME[criterion](safety, utility, norms))
    name = getattr(criterion, "__name__", type(criterion).__name__)
    return Scores(name, i_s, i_u, _checked(criterion(safety, utility, norms), norms, name))


_TINY = torch.finfo(torch.float64).tiny


def _normalize(score: Tensor, how: str) -> Tensor:
    if how == "module":
        return score / score.sum().clamp_min(_TINY)
    return score.clamp_min(_TINY).log() if how == "log" else score


def _checked(found: object, norms: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """What somebody's own criterion returned, float64 on the CPU, site by site."""
    if not isinstance(found, Mapping) or set(found) != set(norms):
        what = f"sites {', '.join(map(str, found))}"[:200] if isinstance(found, Mapping) else type(found).__name__
        raise ValueError(f"criterion {name} returned {what}: return a mapping with one tensor for each of "
                         f"{', '.join(norms)}")
    for site, norm in norms.items():
        score = found[site]
        if not isinstance(score, Tensor) or score.shape != norm.shape or score.is_complex():
            shape = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise ValueError(f"criterion {name} returned {shape} for site {site!r}: return one number a unit, a tensor "
                             f"of shape {tuple(norm.shape)}")
        if not bool(torch.isfinite(score).all()):
            raise ValueError(f"criterion {name} returned numbers that are not finite for site {site!r}: keep divisors "
                             "from 0 and logarithms from numbers below it")
    return {site: found[site].detach().cpu().double() for site in norms}


def check_choice(criterion: object, normalize: str) -> None:
    """Raise ValueError for a criterion or a normalization that there is not.

    >>> check_choice("fisher", "log")
    >>> check_choice("wanda", "log")
    Traceback (most recent call last):
    ValueError: criterion='wanda' is unknown: choose one of fisher, variance, contrast, or pass a function
    """
    if not callable(criterion):
        check_one_of(CRITERIA, ", or pass a function", criterion=criterion)
    check_one_of(NORMALIZATIONS, normalize=normalize)


def column_norms(model: nn.Module) -> dict[str, Tensor]:
    """||W_:,j||^2 of the column that reads each unit: float64 [unit] a site.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> norms = column_norms(model)
    >>> norms["mlp.0"].shape == (ssah.UnitMap(model).size("mlp.0"),), bool((norms["mlp.0"] >= 0).all())
    (True, True)
    """
    return {site.name: column_norm(model, site) for site in known_units(model)}


def column_norm(model: nn.Module, site: Site) -> Tensor:
    """||W_:,j||^2 of the columns that read the units of one site: float64 [unit].

    >>> from types import SimpleNamespace as Named
    >>> model = nn.Sequential(nn.Linear(2, 1, bias=False))
    >>> model[0].weight.data = torch.tensor([[3., 4.]])
    >>> column_norm(model, Named(reader="0", axis=1)).tolist()
    [9.0, 16.0]
    """
    return model.get_submodule(site.reader).weight.detach().double().square().sum(1 - site.axis).cpu()


def check_sites(sizes: Mapping[str, int], **moments: Moments) -> None:
    """Raise ValueError, with its name, for moments that are not of these sites.

    >>> check_sites({"mlp.0": 1}, safety=Moments(1, {"mlp.0": torch.zeros(1)}, {"mlp.0": torch.zeros(1)}))
    """
    check_kind(Moments, "pass what collect gives", **moments)
    for name, m in moments.items():
        if m.sizes != dict(sizes):
            raise ValueError(f"{name} moments are of another model: collect them on the model that is scored")

"""How much each unit matters: exact moments of its activation, and the criteria made of them.

Activations X_j are the inputs of a site's reader B (the input of `down_proj` and of `o_proj`), read
in one forward pass over a calibration set. Padding and tokens that the batch masks out do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import encode, evaluating, pad_columns
from .unit_map import UnitMap

TOKENS = ("response", "prompt", "last_prompt", "all")
CRITERIA = ("fisher", "variance", "contrast")
NORMALIZATIONS = ("none", "module", "log")


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of every unit's activation: float64 [unit] a site.

    `m1 + m2` are the moments of both sets together, exactly (Chan et al. 1979), so they can be
    gathered over batches, runs and processes.
    """

    count: int
    """Number of tokens."""
    mean: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]
    """Sum over tokens of (x - mean)^2."""

    @property
    def sizes(self) -> dict[str, int]:
        return {site: len(mean) for site, mean in self.mean.items()}

    @property
    def variance(self) -> dict[str, Tensor]:
        """Sample variance, 1/(N-1) sum (x - mean)^2: float64 [unit] a site."""
        if self.count < 2:
            raise ValueError(f"{self.count} token has no variance: collect at least two, from more or longer examples")
        return {site: squares / (self.count - 1) for site, squares in self.squares.items()}

    def __add__(self, other: Moments) -> Moments:
        if self.sizes != other.sizes:
            raise ValueError("moments are of different models: add only moments with the same sites and units")
        count = self.count + other.count
        shift = {site: other.mean[site] - mean for site, mean in self.mean.items()}
        return Moments(
            count,
            {site: mean + shift[site] * (other.count / count) for site, mean in self.mean.items()},
            {site: squares + other.squares[site] + shift[site] ** 2 * (self.count * other.count / count)
             for site, squares in self.squares.items()})


@dataclass(frozen=True)
class Scores:
    """Importance of every unit: float64 [unit] a site, finite, larger = more needed."""

    criterion: str
    safety: Mapping[str, Tensor]
    """I_S: importance on the safety set."""
    utility: Mapping[str, Tensor]
    """I_U: importance on the utility set."""
    contrast: Mapping[str, Tensor]
    """What ranks safety-critical units: I_S - I_U for "variance", the discriminant for "fisher"."""


def batches(examples: Sequence[Mapping], tokenizer: PreTrainedTokenizerBase, tokens: str = "response",
            batch_size: int = 64) -> list[dict[str, Tensor]]:
    """Render and pad examples for `collect`.

    examples   Rows with `prompt`, `response` (not needed for "prompt" and "last_prompt"), optional `system`.
    tokens     Which tokens count: the "response" with its end, the "prompt" with its template, the
               "last_prompt" token alone (where the model is about to choose), or "all".

    Returns dicts of `input_ids`, `attention_mask` and `token_mask`, each [batch, token], padded on the right.
    Raises ValueError if there are no examples or `tokens` is unknown.
    """
    if tokens not in TOKENS:
        raise ValueError(f"tokens={tokens!r} is unknown: choose one of {', '.join(TOKENS)}")
    if not len(examples):
        raise ValueError("examples is empty: a calibration set needs at least one example")
    needs_response = tokens in ("response", "all")
    rows = [encode(tokenizer, row["prompt"], row["response"] if needs_response else None, system=row.get("system"))
            for row in examples]
    return [_batch(rows[at:at + batch_size], tokens) for at in range(0, len(rows), batch_size)]


def _batch(rows: list[tuple[list[int], int]], tokens: str) -> dict[str, Tensor]:
    batch = pad_columns({"input_ids": [ids for ids, _ in rows]}, {"input_ids": 0})
    real = batch["attention_mask"].bool()
    place = torch.arange(real.shape[1])  # [token]
    start = torch.tensor([[start] for _, start in rows])  # [batch, 1], where the response begins
    chosen = {"response": place >= start, "prompt": place < start, "last_prompt": place == start - 1,
              "all": real}[tokens]
    return {**batch, "token_mask": real & chosen}


@torch.no_grad()
def collect(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], progress: bool = False) -> Moments:
    """Moments of every unit's activation over the tokens that `token_mask` marks.

    One forward pass; memory does not grow with the number of tokens. Activations are cast to float64
    before anything is summed. A batch without `token_mask` counts all its unpadded tokens.

    Raises ValueError if there are no batches, no marked token, or an activation is not finite (naming the site).
    """
    units, total = UnitMap(model), None
    for batch in tqdm(batches, desc="collect", disable=not progress, leave=False):
        moments = _moments_of_batch(model, units, batch)
        total = moments if total is None else total + moments if moments else total
    if total is None:
        raise ValueError("batches hold no marked token: pass at least one batch whose token_mask is not all false")
    return total


def _moments_of_batch(model: PreTrainedModel, units: UnitMap, batch: Mapping[str, Tensor]) -> Moments | None:
    mask = (batch.get("token_mask", batch["attention_mask"]) * batch["attention_mask"]).bool()  # [batch, token]
    if not mask.any():
        return None
    mean, squares = {}, {}

    def read(site: str, activation: Tensor) -> None:
        x = activation.flatten(0, -2)[mask.flatten().to(activation.device)].double()  # [token, unit]
        mean[site] = x.mean(0).cpu()
        squares[site] = (x - x.mean(0)).square().sum(0).cpu()
        if not bool(torch.isfinite(squares[site]).all()):
            raise ValueError(f"an activation at site {site!r} is not finite: check the model's weights and dtype")

    with evaluating(model), reading(model, units, read):
        model(input_ids=batch["input_ids"].to(model.device), attention_mask=batch["attention_mask"].to(model.device))
    return Moments(int(mask.sum()), mean, squares)


@contextmanager
def reading(model: nn.Module, units: UnitMap, read):
    """Call `read(site, activation)` with the activations of every site in each forward pass.

    They are [batch, token, unit], or [batch * token, unit] where a model (OPT) flattens them.
    """
    hooks = [model.get_submodule(site.reader).register_forward_pre_hook(
        lambda module, args, name=site.name: read(name, args[0])) for site in units]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def score_units(model: nn.Module, *, safety: Moments, utility: Moments, criterion: str = "fisher",
                normalize: str = "none") -> Scores:
    """Score every unit's importance for safety and for utility.

    safety, utility   Moments on the two calibration sets.
    criterion         What ranks safety-critical units (`Scores.contrast`):
        "variance"    I_S - I_U, where I_j = Var(X_j) * ||W_:,j||^2  (the paper's equation, Sec. 3).
        "fisher"      (mu_S - mu_U)^2 ||W_:,j||^2 / (I_S + I_U + their median over the site): how well the unit
                      tells the two sets apart. Ours: a unit that is on for one set and off for the other varies
                      in neither, and variance misses it.
        "contrast"    (mu_S - mu_U)^2 ||W_:,j||^2, Fisher's numerator alone.
    normalize         How I_S and I_U of different sites are made comparable, which the paper leaves open (the
                      rankings of "fisher" and "contrast" are not normalised further):
        "none"        as they are.
        "module"      divided by their sum over the site.
        "log"         their natural logarithm, so that I_S - I_U ranks by the ratio.

    `Scores.safety` and `.utility` are I_S and I_U under `normalize`, whatever the criterion.
    """
    for name, value, allowed in (("criterion", criterion, CRITERIA), ("normalize", normalize, NORMALIZATIONS)):
        if value not in allowed:
            raise ValueError(f"{name}={value!r} is unknown: choose one of {', '.join(allowed)}")
    norms = column_norms(model)
    _check_sites(norms, safety=safety, utility=utility)
    raw_s = {site: variance * norms[site] for site, variance in safety.variance.items()}
    raw_u = {site: variance * norms[site] for site, variance in utility.variance.items()}
    i_s, i_u = ({site: _normalize(score, normalize) for site, score in raw.items()} for raw in (raw_s, raw_u))
    if criterion == "variance":
        contrast = {site: i_s[site] - i_u[site] for site in norms}
    else:
        contrast = {site: (safety.mean[site] - utility.mean[site]) ** 2 * norms[site] for site in norms}
    if criterion == "fisher":
        within = {site: raw_s[site] + raw_u[site] for site in norms}
        contrast = {site: gap / (within[site] + within[site].median()).clamp_min(_TINY)
                    for site, gap in contrast.items()}
    return Scores(criterion, i_s, i_u, contrast)


_TINY = torch.finfo(torch.float64).tiny


def _normalize(score: Tensor, how: str) -> Tensor:
    if how == "module":
        return score / score.sum().clamp_min(_TINY)
    return score.clamp_min(_TINY).log() if how == "log" else score


def column_norms(model: nn.Module) -> dict[str, Tensor]:
    """||W_:,j||^2 of the column that reads each unit: float64 [unit] a site."""
    return {site.name: model.get_submodule(site.reader).weight.detach().double().square().sum(1 - site.axis).cpu()
            for site in UnitMap(model)}


def _check_sites(norms: Mapping[str, Tensor], **moments: Moments) -> None:
    for name, m in moments.items():
        if m.sizes != {site: len(norm) for site, norm in norms.items()}:
            raise ValueError(f"{name} moments are of another model: collect them on the model that is scored")

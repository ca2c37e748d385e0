"""What removing a unit would do to a model's choice, to first order; and a search for the units that carry it.

A unit is removed by replacing its activation x, at every token, with its mean m on a utility set. To first order
that changes a number L, read off the logits of one prompt, by

    e_j = sum over tokens t of (m_j - x_tj) dL / dx_tj,

one forward and one backward pass for all units (Taylor importance, Molchanov et al. 2019; attribution patching,
Syed et al. 2023). Units that stand in for each other hide behind one another, so the search removes a few, looks
again, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_counts, check_filled, check_kind, check_share
from ..models import FirstTokens, Wordings, check_batch, check_context, evaluating, head_reads, inputs_of
from .ablation import ablate
from .check_units import known_units
from .importance import Scores
from .masks import split_sites
from .moments import Moments, reading
from .unit_map import UnitMap

Objective = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""Logits [batch, token, vocabulary] and their batch -> one number a prompt, [batch].

One with an attribute `reads` = "choice" or "response" is given the logits that it names and no others, which saves the
output embedding most of its work: those of the last prompt token, or from there to the response's end. Its batch then
begins, row by row, with the last prompt token.
"""

LEAST = 1e-100
"""Nats: less than any change in float32 can be, and a fall over it is finite."""


def refusal_odds(tokenizer: PreTrainedTokenizerBase, refusal: Wordings, compliance: Wordings) -> Objective:
    """Log-odds that a response begins with the first token of a refusal, rather than of compliance (nats).

    refusal, compliance   Ways to begin a response; only their first tokens count.

    Returns a function of logits [batch, token, vocabulary] and their batch, [batch], through which gradients flow.
    Raises ValueError if there are no wordings, one is empty, or a token begins both.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> odds = ssah.refusal_odds(tokenizer, ["the lamp"], ["name it"])
    >>> [batch] = ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer)
    >>> odds(torch.zeros(*batch["input_ids"].shape, len(tokenizer)), batch)  # one token against one, equally likely
    tensor([0.])

    *Shown in:* 00_start_here.
    """
    first = FirstTokens.of(tokenizer, refusal, compliance)

    @_reads("choice")
    def odds(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        if not batch["token_mask"].any(-1).all():
            raise ValueError("a row has no token of a response: give responses, with tokens='response'")
        before = batch["token_mask"].int().argmax(-1) - 1  # the last prompt token, [batch]
        choice = logits[torch.arange(len(before), device=logits.device), before.to(logits.device)]
        return first.log_odds_with_gradient(choice)

    return odds


def _reads(what: str) -> Callable[[Objective], Objective]:
    """Mark an objective with the logits that it reads."""
    def marked(objective: Objective) -> Objective:
        objective.reads = what
        return objective
    return marked


@_reads("response")
def log_likelihood(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Log-likelihood of the response, summed over its tokens (nats): [batch].

    >>> batch = {"input_ids": torch.tensor([[1, 0]]), "token_mask": torch.tensor([[False, True]])}
    >>> round(log_likelihood(torch.zeros(1, 2, 4), batch).item(), 4)  # one token of four, equally likely
    -1.3863
    """
    ids, counts = batch["input_ids"][:, 1:].to(logits.device), batch["token_mask"][:, 1:].to(logits.device)
    return (logits[:, :-1].log_softmax(-1).gather(-1, ids[..., None])[..., 0] * counts).sum(-1)


def effects(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], objective: Objective,
            fill: Moments) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """First-order effect of removing each unit on `objective`: mean over prompts, and mean size.

    batches   Of `ssah.batches(..., tokens="response")`.
    fill      Moments whose means take a removed unit's place.

    Both are float64 [unit] a site. Memory does not grow with the number of batches.
    Raises ValueError if there are none, or an effect is not finite.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> batches = ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer)
    >>> mean, size = effects(model, batches, log_likelihood, ssah.collect(model, batches))
    >>> bool((size["mlp.0"] == mean["mlp.0"].abs()).all())  # of one prompt
    True
    """
    units, count = known_units(model), 0
    total = {site: torch.zeros(size, dtype=torch.float64) for site, size in units.sizes.items()}
    size = {site: torch.zeros_like(zero) for site, zero in total.items()}
    for batch in batches:
        for site, effect in _effects_of_batch(model, units, batch, objective, fill).items():  # [prompt, unit]
            total[site] += effect.sum(0)
            size[site] += effect.abs().sum(0)
        count += len(batch["input_ids"])
    if not count or not all(bool(torch.isfinite(site).all()) for site in size.values()):
        raise ValueError("batches are empty, or give effects that are not finite: check the examples and the model for "
                         "NaN")
    return {site: sum_ / count for site, sum_ in total.items()}, {site: sum_ / count for site, sum_ in size.items()}


def _effects_of_batch(model, units: UnitMap, batch, objective: Objective, fill: Moments) -> dict[str, Tensor]:
    check_batch(model, batch, ("token_mask",))
    inputs, effects = inputs_of(model, batch), {}
    ids, attended = inputs["input_ids"], inputs["attention_mask"]
    check_context(model, ids.shape[1], f"the longest chat has {ids.shape[1]} tokens")
    is_padded = not bool(attended.all())

    def note(site: str, x: Tensor, gradient: Tensor) -> None:
        """As soon as a site's gradient is there, so that it need not be kept."""
        change = (fill.mean[site].to(x) - x).mul_(gradient).view(*ids.shape, -1)  # [prompt, token, unit]
        effects[site] = (change.mul_(attended[..., None]) if is_padded else change).sum(1).double().cpu()

    first: list[Tensor] = []  # the sites of block 0: gradients need not go further back

    def watch(site: str, x: Tensor) -> None:
        x.register_hook(partial(note, site, x.detach()))
        if units[site].block == 0:
            first.append(x)

    hook = model.get_input_embeddings().register_forward_hook(  # so that a model that does not train has a graph
        lambda module, args, out: out if out.requires_grad else out.requires_grad_())
    try:
        with torch.enable_grad(), evaluating(model), reading(model, units, watch):
            value = _value(model, inputs, batch, objective)
            torch.autograd.grad(value, first)
    finally:
        hook.remove()
    return {site: effects[site] for site in units.sites}


def _value(model, inputs: Mapping[str, Tensor], batch: Mapping[str, Tensor], objective: Objective) -> Tensor:
    """An objective, summed over the rows of a batch, of the logits that it reads."""
    window, column = _window(batch, getattr(objective, "reads", "all"))
    select = lambda hidden: hidden[torch.arange(len(hidden))[:, None], column.to(hidden.device)]  # noqa: E731
    with nullcontext() if column is None else head_reads(model, select) as read:
        logits = model(**inputs, use_cache=False).logits
    if column is not None and not read:
        logits = select(logits)
    return objective(logits.to(torch.promote_types(logits.dtype, torch.float32)), window).sum()


def _window(batch: Mapping[str, Tensor], reads: str) -> tuple[Mapping[str, Tensor], Tensor | None]:
    """The part of a batch that an objective reads, and the columns [row, token] of its logits; None: all of them."""
    if reads == "all" or not bool(batch["token_mask"][:, 1:].any(-1).all()):  # the objective refuses that
        return batch, None
    counts = batch["token_mask"].int()
    place = torch.arange(counts.shape[1], device=counts.device)
    last = (counts * place).max(-1).values
    first = (counts.argmax(-1, keepdim=True) - 1).clamp(min=0)  # the last prompt token
    column = first + torch.arange(int((last[:, None] - first).max()) + 1, device=counts.device)
    within = column.clamp(max=counts.shape[1] - 1)
    window = {name: part.gather(1, within) for name, part in batch.items() if part.shape == counts.shape}
    window["token_mask"] = window["token_mask"] & (column < counts.shape[1])
    return window, within[:, :1] if reads == "choice" else within


def fall_over_change(fall: Tensor, change: Tensor) -> Tensor:
    """What `search` ranks by: the fall of the odds over the change of utility plus its median, [unit], always finite.

    fall, change   Of all units, float64, in nats; a change is 0 or more.

    Where most units are dead, as behind a ReLU, the median is 0. A dead unit has a ratio of 0 then, and one that costs
    nothing comes before, or behind, all that cost something.

    >>> fall_over_change(torch.tensor([4., 4., -1.]).double(), torch.tensor([1., 3., 1.]).double())
    tensor([ 2.0000,  1.0000, -0.5000], dtype=torch.float64)
    >>> fall_over_change(torch.tensor([0., 0., 1.]).double(), torch.tensor([0., 0., 2.]).double())
    tensor([0.0000, 0.0000, 0.5000], dtype=torch.float64)
    """
    return fall / (change + change.median()).clamp_min(LEAST)


def search(model: PreTrainedModel, safety: Sequence[Mapping[str, Tensor]], utility: Sequence[Mapping[str, Tensor]],
           odds: Objective, fill: Moments, *, share: float = 0.05, rounds: int = 10) -> Scores:
    """Find the units that carry refusal and little else, a few at a time.

    safety, utility   Batches of malicious requests with refusals, and of instructions with answers (tokens="response").
    odds              What is to fall on the safety set, such as `refusal_odds`.
    fill              Moments on the utility set, whose means take a removed unit's place.
    share             Share of all units (0-1) that is searched, in `rounds` rounds.

    Each round ranks units by the fall of `odds` over the change of the response's log-likelihood on the utility set
    plus that change's median, with all units of earlier rounds removed. `Scores.contrast` is minus a unit's place in
    that order; what the search does not reach follows by the last round's ranking. `Scores.safety` (the fall) and
    `.utility` (the change) are those of the first round, in nats.
    Raises ValueError for a share outside 0-1 or less than one round.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> batches = ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer)
    >>> odds = ssah.refusal_odds(tokenizer, ["the lamp"], ["name it"])
    >>> scores = ssah.search(model, batches, batches, odds, ssah.collect(model, batches), rounds=2)
    >>> scores.criterion, sum(int((place == 0).sum()) for place in scores.contrast.values())  # one unit is first
    ('attribution', 1)

    *Shown in:* 03_label_units.
    """
    check_share(share=share)
    check_counts(rounds=rounds)
    if not share:
        raise ValueError(f"share={share} searches nothing: pass a share above 0")
    check_filled("pass a list of batches, such as ssah.batches gives", safety=safety, utility=utility)
    check_kind(Callable, "pass a function of logits and their batch, such as ssah.refusal_odds gives", odds=odds)
    check_kind(Moments, "pass what collect gives on the utility set", fill=fill)
    units, first, order = UnitMap(model), None, torch.empty(0, dtype=torch.int64)
    for turn in range(1, rounds + 1):
        found = order[:round((turn - 1) * share / rounds * units.total)]  # units removed so far, as places in the model
        removed = torch.zeros(units.total, dtype=torch.bool).index_fill_(0, found, True)
        with ablate(model, split_sites(removed, units.sizes), "mean", fill):
            fall, change = (-_flat(effects(model, safety, odds, fill)[0]),
                            _flat(effects(model, utility, log_likelihood, fill)[1]))
        first = first or (fall, change)
        ratio = fall_over_change(fall, change)
        ranked = torch.sort(ratio.index_fill(0, found, -torch.inf), descending=True, stable=True).indices
        order = torch.cat([found, ranked[:units.total - len(found)]])
    place = torch.empty(units.total, dtype=torch.float64).index_copy_(0, order, -torch.arange(units.total).double())
    return Scores("attribution", *(_by_site(flat, units.sizes) for flat in (*first, place)))


def _by_site(flat: Tensor, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return dict(zip(sizes, flat.split(list(sizes.values())), strict=True))


def _flat(effect: Mapping[str, Tensor]) -> Tensor:
    return torch.cat(list(effect.values()))

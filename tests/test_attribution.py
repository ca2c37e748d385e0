"""First-order effects are derivatives of a real replacement; the search removes what it found before it looks again."""

from types import SimpleNamespace

import pytest
import torch
import toys

from ssah_core import UnitMap, ablate, batches, collect
from ssah_core.models import FirstTokens
from ssah_core.studies import criteria
from ssah_core.units import attribution
from ssah_core.units.masks import split_sites

TOKENIZER = toys.tokenizer()
ODDS = attribution.refusal_odds(TOKENIZER, ["never"], ["sure"])
FAMILIES = ("llama", "opt", "qwen2")


def batches_of(chats=toys.CHATS, batch_size=2):
    return batches(chats, TOKENIZER, "response", batch_size)


def means(model):
    return collect(model, batches(toys.CHATS, TOKENIZER, "all"))


def moved(model, site, unit: int, mean: float, step: float, batch, objective) -> torch.Tensor:
    """The objective of every prompt with one unit moved by `step` of its way to its mean, at every token."""

    def move(module, args):
        x = args[0].clone()
        x[..., unit] += step * (mean - x[..., unit])
        return (x, *args[1:])

    hook = model.get_submodule(site.reader).register_forward_pre_hook(move)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    hook.remove()
    return objective(logits, batch)


@pytest.mark.parametrize("objective", [ODDS, attribution.log_likelihood])
@pytest.mark.parametrize("family", FAMILIES)
def test_effects_are_derivatives_towards_the_mean(family, objective):
    model = toys.model(family).eval()
    fill, step = means(model), 1e-2  # some norms compute in float32
    mean, size = attribution.effects(model, batches_of(), objective, fill)
    for site in UnitMap(model):
        for unit in (0, site.size - 1):
            value = fill.mean[site.name][unit]
            slopes = torch.cat([(moved(model, site, unit, value, step, batch, objective)
                                 - moved(model, site, unit, value, -step, batch, objective)) / (2 * step)
                                for batch in batches_of(batch_size=1)]).double()
            assert mean[site.name][unit] == pytest.approx(float(slopes.mean()), rel=1e-2, abs=5e-5)
            assert size[site.name][unit] == pytest.approx(float(slopes.abs().mean()), rel=1e-2, abs=5e-5)


def test_effects_do_not_depend_on_the_batches_and_leave_no_trace():
    model = toys.model().train().requires_grad_(False)
    fill, before = means(model), toys.hooks(model)
    one, many = (attribution.effects(model, batches_of(batch_size=size), ODDS, fill)[0] for size in (1, 3))
    assert all(torch.allclose(one[site], many[site], atol=1e-6) for site in one)
    assert any(bool(effect.any()) for effect in one.values())
    assert toys.hooks(model) == before and model.training
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


@torch.no_grad()
def test_log_likelihood_is_that_of_the_response_alone():
    model = toys.model().eval()
    for row, batch in zip(toys.CHATS, batches_of(batch_size=1), strict=True):
        ids, start = toys.rendered(row["prompt"], row["response"], row.get("system"))
        logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        expected = sum(float(logits[at - 1, ids[at]]) for at in range(start, len(ids)))
        assert float(attribution.log_likelihood(model(**{k: batch[k] for k in ("input_ids", "attention_mask")}).logits,
                                                batch)) == pytest.approx(expected, abs=1e-5)


def test_odds_are_read_at_the_last_prompt_token():
    model = toys.model().eval()
    [batch] = batches_of(toys.CHATS, 8)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    no, yes = toys.ids("never")[0], toys.ids("sure")[0]
    for row, odds, found in zip(toys.CHATS, logits, ODDS(logits, batch), strict=True):
        _, start = toys.rendered(row["prompt"], row["response"], row.get("system"))
        assert float(found) == pytest.approx(float(odds[start - 1, no] - odds[start - 1, yes]))


@pytest.mark.parametrize("rounds", [1, 3])
def test_search_removes_what_it_found_and_looks_again(rounds):
    model = toys.model().eval()
    units, fill, share = UnitMap(model), means(model), 0.3
    scores = attribution.search(model, batches_of(), batches_of(), ODDS, fill, share=share, rounds=rounds)
    place = torch.cat(list(scores.contrast.values()))
    assert sorted(place.tolist()) == sorted(-float(n) for n in range(units.total))  # every place once
    found: list[int] = []
    for turn in range(rounds):
        removed = torch.zeros(units.total, dtype=torch.bool)
        removed[torch.tensor(found, dtype=torch.int64)] = True
        with ablate(model, split_sites(removed, units.sizes), "mean", fill):
            rise, _ = attribution.effects(model, batches_of(), ODDS, fill)
            _, change = attribution.effects(model, batches_of(), attribution.log_likelihood, fill)
        rise, change = (torch.cat(list(effects.values())) for effects in (rise, change))
        ratio = -rise / (change + change.median())
        best = [unit for unit in ratio.argsort(descending=True, stable=True).tolist() if unit not in found]
        found += best[:round((turn + 1) * share / rounds * units.total) - len(found)]
    assert place.argsort(descending=True).tolist()[:len(found)] == found


# -- dead units --------------------------------------------------------------------------------------------


def mostly_dead():
    """A model whose MLPs have a ReLU behind which five of six units never open, and which of all units do not."""
    model = toys.model(hidden_act="relu", intermediate_size=60).eval()
    with torch.no_grad():
        for block in model.model.layers:
            block.mlp.gate_proj.weight[10:] = 0
    dead = [torch.arange(site.size) >= (10 if site.kind == "mlp" else site.size) for site in UnitMap(model)]
    return model, torch.cat(dead)


def test_dead_units_are_not_found_where_most_are_dead():
    model, dead = mostly_dead()
    fill = means(model)
    fall, change = (torch.cat(list(part.values())) for part in (
        attribution.effects(model, batches_of(), ODDS, fill)[0],
        attribution.effects(model, batches_of(), attribution.log_likelihood, fill)[1]))
    assert change.median() == 0 and not change[dead].any() and bool(change[~dead].all())
    scores = attribution.search(model, batches_of(), batches_of(), ODDS, fill, share=0.1, rounds=2)
    order = torch.cat(list(scores.contrast.values())).argsort(descending=True)
    helpful = int((fall < 0).sum())
    assert helpful > 20 and not dead[order[:17]].any() and order[0] == (-fall / change).nan_to_num(0).argmax()


def test_dead_units_are_in_the_middle_of_one_round():
    model, dead = mostly_dead()
    subject = SimpleNamespace(model=model, tokenizer=TOKENIZER, batches=lambda *given: batches_of(),
                              moments=lambda *given: means(model),
                              material=SimpleNamespace(refusals=["never"], openings=["sure"]))
    found = criteria.RANKINGS["attribution, one round"](subject)
    ratio = torch.cat(list(found.values()))
    assert {site: len(part) for site, part in found.items()} == UnitMap(model).sizes
    assert bool(ratio.isfinite().all()) and not ratio[dead].any() and bool(ratio[~dead].any())


def test_what_costs_nothing_is_first_or_last_and_its_ratio_finite():
    fall, change = torch.tensor([[9., 1, 0, -9], [0., 3, 0, 0]], dtype=torch.float64)
    ratio = attribution.fall_over_change(fall, change)
    assert ratio.argsort(descending=True).tolist() == [0, 1, 2, 3] and bool(ratio.isfinite().all())
    fall, change = torch.rand(2, 99, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(attribution.fall_over_change(fall, change), fall / (change + change.median()))


@pytest.mark.parametrize("refusal, compliance, sentence", [
    ([], ["sure"], "refusal=.* holds no text"), ([""], ["sure"], "refusal=.* holds no text"),
    (["never"], [], "compliance=.* holds no text"),
    (["never"], ["never sure"], "begins with 'never'.*first tokens differ")])
def test_odds_of_nothing_or_of_one_beginning_are_refused(refusal, compliance, sentence):
    with pytest.raises(ValueError, match=sentence):
        attribution.refusal_odds(TOKENIZER, refusal, compliance)


def test_the_odds_that_train_are_those_that_are_reported():
    first = FirstTokens.of(TOKENIZER, ["never", "sorry now"], "sure")
    logits = torch.randn(5, len(TOKENIZER), generator=torch.Generator().manual_seed(0)).requires_grad_()
    odds = first.log_odds_with_gradient(logits)
    assert odds.dtype == torch.float32 and first.log_odds(logits).dtype == torch.float64
    torch.testing.assert_close(odds.double(), first.log_odds(logits), rtol=1e-5, atol=1e-6)
    [slope] = torch.autograd.grad(odds.sum(), logits)
    moved = set(slope.abs().sum(0).nonzero().flatten().tolist())
    assert moved == {*first.refusal, *first.compliance} == set(toys.ids("never sorry sure"))


def test_bad_searches_are_refused():
    model = toys.model()
    fill = means(model)
    for wrong in ({"share": 0}, {"share": 1.5}, {"rounds": 0}):
        with pytest.raises(ValueError, match="is no share|searches nothing|rounds=0 is no whole number"):
            attribution.search(model, batches_of(), batches_of(), ODDS, fill, **wrong)
    with pytest.raises(ValueError, match="empty"):
        attribution.effects(model, [], ODDS, fill)

"""Moments are exact whatever the batches, and scores are the paper's equation, computed twice."""

import weakref

import numpy
import pytest
import torch
import toys

from ssah_core import Moments, UnitMap, batches, collect, score_units
from ssah_core.units import score_in_blocks
from ssah_core.units.importance import CRITERIA, NORMALIZATIONS, column_norms
from ssah_core.units.moments import TOKENS, _moments_at_once

TOKENIZER = toys.tokenizer()
TINY = numpy.finfo(float).tiny  # stands for the variance of a unit that never varies
TOLERANCE = {"llama": 1e-9, "qwen2": 1e-9, "opt": 1e-9, "gemma2": 1e-4}  # Gemma's norms compute in float32


def brute_force(model, tokens: str, chats=toys.CHATS) -> dict[str, numpy.ndarray]:
    """Activations [token, unit] of every site: each chat alone, without padding, rendered by hand."""
    units, gathered = UnitMap(model), {}
    for row in chats:
        ids, start = toys.rendered(row["prompt"], row["response"], row.get("system"))
        chosen = {"response": slice(start, None), "prompt": slice(0, start),
                  "last_prompt": slice(start - 1, start), "all": slice(None)}[tokens]
        read = toys.inputs_of(model, [site.reader for site in units], input_ids=torch.tensor([ids]))
        for site in units:
            gathered.setdefault(site.name, []).append(read[site.reader][0, chosen].double().numpy())
    return {site: numpy.concatenate(rows) for site, rows in gathered.items()}


def moments_of(model, tokens="all", chats=toys.CHATS, batch_size=2) -> Moments:
    return collect(model, batches(chats, TOKENIZER, tokens, batch_size))


def equal(a: Moments, b: Moments, tolerance=1e-12) -> bool:
    return a.count == b.count and all(
        torch.allclose(x[site], y[site], rtol=tolerance, atol=tolerance)
        for x, y in ((a.mean, b.mean), (a.squares, b.squares)) for site in x)


# --- moments ---


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("family", toys.FAMILIES)
def test_padding_does_not_enter_the_moments(family, tokens):
    model = toys.model(family)
    moments, expected = moments_of(model, tokens), brute_force(model, tokens)
    for site, x in expected.items():
        assert moments.count == len(x)
        assert moments.mean[site].dtype == torch.float64 == moments.variance[site].dtype
        numpy.testing.assert_allclose(moments.mean[site], x.mean(0), rtol=TOLERANCE[family], atol=TOLERANCE[family])
        numpy.testing.assert_allclose(moments.variance[site], x.var(0, ddof=1), rtol=TOLERANCE[family], atol=1e-12)


def test_half_precision_is_summed_in_float64():
    model = toys.model(dtype=torch.bfloat16)
    chats = [toys.CHATS[0]]  # one chat, so that nothing is padded and bfloat16 rounds alike
    moments, expected = moments_of(model, "all", chats), brute_force(model, "all", chats)
    for site, x in expected.items():
        numpy.testing.assert_allclose(moments.variance[site], x.var(0, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(1, 5), (7, 768), (960, 1536), (512, 770), (333, 1000)])
def test_units_that_share_a_copy_change_no_bit_and_no_activation(shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    kept, whole = x.clone(), x.double()
    mean, squares = _moments_at_once(x)
    assert torch.equal(mean, whole.mean(0)) and torch.equal(squares, (whole - whole.mean(0)).square().sum(0))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("tokens", TOKENS)
def test_moments_do_not_depend_on_the_batch_size(tokens):
    model = toys.model()
    whole = moments_of(model, tokens, batch_size=64)
    assert all(equal(moments_of(model, tokens, batch_size=size), whole) for size in (1, 2, 3))


def test_a_batch_without_token_mask_counts_all_unpadded_tokens():
    model, made = toys.model(), batches(toys.CHATS, TOKENIZER, "all", 2)
    plain = [{name: batch[name] for name in ("input_ids", "attention_mask")} for batch in made]
    assert equal(collect(model, plain), collect(model, made), 0)


def test_two_sums_of_moments_are_the_moments_of_both():
    model = toys.model()
    one, two = moments_of(model, chats=toys.CHATS[:2]), moments_of(model, chats=toys.CHATS[2:])
    assert equal(one + two, moments_of(model)) and equal(two + one, one + two)


def test_sums_of_moments_may_be_grouped_in_any_way():
    model = toys.model()
    a, b, c = (moments_of(model, chats=[row]) for row in toys.CHATS[:3])
    assert equal((a + b) + c, a + (b + c)) and (a + b + c).count == a.count + b.count + c.count


def test_sums_are_exact_far_from_zero():
    x = 1e6 + torch.randn(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parts = [Moments(len(part), {"a": part.mean(0)}, {"a": part.sub(part.mean(0)).square().sum(0)})
             for part in x.split(7)]
    total = sum(parts[1:], parts[0])
    torch.testing.assert_close(total.variance["a"], x.var(0), rtol=1e-9, atol=0)


def test_one_token_has_a_mean_but_no_variance():
    moments = moments_of(toys.model(), "last_prompt", toys.CHATS[:1])
    assert moments.count == 1 and moments.mean["mlp.0"].shape == (20,)
    with pytest.raises(ValueError, match="1 token has no variance"):
        moments.variance  # noqa: B018


def test_moments_of_different_models_do_not_add():
    with pytest.raises(ValueError, match="different models"):
        moments_of(toys.model()) + moments_of(toys.model("opt"))


def test_no_activation_outlives_its_batch():
    model, alive, most = toys.model(), [], []

    def watched():
        for batch in batches(toys.CHATS * 4, TOKENIZER, "all", batch_size=2):
            most.append(sum(tensor() is not None for tensor in alive))
            yield batch

    handles = [model.get_submodule(site.reader).register_forward_pre_hook(
        lambda module, args: alive.append(weakref.ref(args[0]))) for site in UnitMap(model)]
    assert collect(model, watched()).count > 0
    for handle in handles:
        handle.remove()
    assert len(alive) == 4 * 10 and len(most) == 10 and max(most) == 0


@pytest.mark.parametrize("found", [[], [{"input_ids": torch.ones(2, 3, dtype=torch.long),
                                         "attention_mask": torch.ones(2, 3, dtype=torch.long),
                                         "token_mask": torch.zeros(2, 3, dtype=torch.bool)}]])
def test_batches_without_a_marked_token_are_refused(found):
    with pytest.raises(ValueError, match="no marked token"):
        collect(toys.model(), found)


def test_a_batch_without_a_marked_token_changes_nothing():
    model, made = toys.model(), batches(toys.CHATS, TOKENIZER, "response", 2)
    masked = {**made[0], "token_mask": torch.zeros_like(made[0]["token_mask"])}
    assert equal(collect(model, [masked, *made, masked]), collect(model, made), 0)


@pytest.mark.parametrize("parameter, site", [("self_attn.v_proj", "attn.1"), ("mlp.up_proj", "mlp.1")])
def test_a_damaged_weight_is_refused_by_the_name_of_its_site(parameter, site):
    model = toys.model()
    with torch.no_grad():
        model.get_submodule(f"model.layers.1.{parameter}").weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=f"{site!r} is not finite"):
        moments_of(model)
    assert toys.hooks(model) == 0


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_collecting_leaves_no_hook_and_no_change(family):
    model = toys.model(family)
    moments_of(model)
    assert toys.hooks(model) == 0 and all(parameter.grad is None for parameter in model.parameters())
    before = toys.model(family).state_dict()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# --- batches ---


@pytest.mark.parametrize("tokens", TOKENS)
def test_batches_hold_every_example_in_order_padded_on_the_right(tokens):
    made = batches(toys.CHATS, TOKENIZER, tokens, batch_size=2)
    columns = ("input_ids", "attention_mask", "token_mask")
    rows = [(ids[real.bool()].tolist(), real.tolist(), chosen[real.bool()].tolist(), bool(chosen[~real.bool()].any()))
            for batch in made for ids, real, chosen in zip(*map(batch.get, columns), strict=True)]
    assert [len(batch["input_ids"]) for batch in made] == [2, 2, 1]
    for row, (ids, real, chosen, padding_chosen) in zip(toys.CHATS, rows, strict=True):
        whole, start = toys.rendered(row["prompt"], row["response"], row.get("system"))
        assert ids == (whole if tokens in ("response", "all") else whole[:start])
        assert real == sorted(real, reverse=True) and not padding_chosen
        assert chosen == [{"response": at >= start, "prompt": at < start, "last_prompt": at == start - 1,
                           "all": True}[tokens] for at in range(len(ids))]


@pytest.mark.parametrize("tokens", ["prompt", "last_prompt"])
def test_prompts_need_no_response(tokens):
    bare = [{"prompt": row["prompt"]} for row in toys.CHATS]
    assert len(batches(bare, TOKENIZER, tokens)) == 1


def test_an_empty_calibration_set_is_refused():
    with pytest.raises(ValueError, match="examples is empty"):
        batches([], TOKENIZER)


def test_unknown_tokens_are_refused():
    with pytest.raises(ValueError, match="'answer' is unknown: choose one of response, prompt, last_prompt, all"):
        batches(toys.CHATS, TOKENIZER, "answer")


# --- scores ---


def by_the_equation(weight, s, u, criterion, normalize):
    """I_S, I_U and what ranks SCU, of one site, from the reader's weight and activations [token, unit]."""
    n_units = s.shape[1]

    def importance(x):
        out = numpy.empty(n_units)
        for j in range(n_units):
            spread = sum((value - x[:, j].mean()) ** 2 for value in x[:, j]) / (len(x) - 1)
            out[j] = spread * (weight[:, j] ** 2).sum()
        return out

    def comparable(score):
        return {"none": score, "module": score / score.sum(), "log": numpy.log(numpy.maximum(score, TINY))}[normalize]

    raw_s, raw_u = importance(s), importance(u)
    gap = (s.mean(0) - u.mean(0)) ** 2 * (weight ** 2).sum(0)
    within = raw_s + raw_u
    middle = numpy.sort(within)[(n_units - 1) // 2]  # torch's median: the lower of two
    contrast = {"variance": comparable(raw_s) - comparable(raw_u), "contrast": gap, "fisher": gap / (within + middle)}
    return comparable(raw_s), comparable(raw_u), contrast[criterion]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_scores_are_those_of_the_equation(family, normalize, criterion):
    model, one, two = toys.model(family), toys.CHATS[:2], toys.CHATS[2:]
    scores = score_units(model, safety=moments_of(model, chats=one), utility=moments_of(model, chats=two),
                         criterion=criterion, normalize=normalize)
    safety, utility = brute_force(model, "all", one), brute_force(model, "all", two)
    assert scores.criterion == criterion and list(scores.contrast) == list(UnitMap(model).sites)
    for site in UnitMap(model):
        weight = model.get_submodule(site.reader).weight.detach().numpy()
        expected = by_the_equation(weight, safety[site.name], utility[site.name], criterion, normalize)
        for found, wanted in zip((scores.safety, scores.utility, scores.contrast), expected, strict=True):
            assert found[site.name].dtype == torch.float64
            numpy.testing.assert_allclose(found[site.name], wanted, rtol=1e-8, atol=1e-10)


def test_fisher_finds_what_variance_misses():
    model = toys.model()
    flat = {site: torch.zeros(size).double() for site, size in UnitMap(model).sizes.items()}
    on = {site: mean.clone() for site, mean in flat.items()}
    on["mlp.0"][3] = 1.0  # on for the safety set, off for the utility set, constant in both
    noise = {site: torch.ones_like(mean) for site, mean in flat.items()}
    noise["mlp.0"][3] = 0.0
    safety, utility = Moments(10, on, noise), Moments(10, flat, noise)
    fisher = score_units(model, safety=safety, utility=utility).contrast
    variance = score_units(model, safety=safety, utility=utility, criterion="variance").contrast
    assert fisher["mlp.0"].argmax() == 3 and variance["mlp.0"][3] == 0


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_units_that_never_vary_have_finite_scores(criterion, normalize):
    model = toys.model()
    dead = {site: torch.zeros(size).double() for site, size in UnitMap(model).sizes.items()}
    scores = score_units(model, safety=Moments(9, dead, dead), utility=Moments(9, dead, dead),
                         criterion=criterion, normalize=normalize)
    for score in (scores.safety, scores.utility, scores.contrast):
        assert all(bool(torch.isfinite(values).all()) for values in score.values())


def test_column_norms_are_of_the_columns():
    model = toys.model()
    weight = model.model.layers[1].mlp.down_proj.weight.detach().numpy()
    numpy.testing.assert_allclose(column_norms(model)["mlp.1"], (weight ** 2).sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("wrong, sentence", [
    ({"criterion": "wanda"}, "criterion='wanda' is unknown: choose one of fisher, variance, contrast"),
    ({"normalize": "zscore"}, "normalize='zscore' is unknown: choose one of none, module, log")])
def test_an_unknown_criterion_or_normalization_is_refused(wrong, sentence):
    model = toys.model()
    with pytest.raises(ValueError, match=sentence):
        score_units(model, safety=moments_of(model), utility=moments_of(model), **wrong)


@pytest.mark.parametrize("name", ["safety", "utility"])
def test_moments_of_another_model_are_refused(name):
    model = toys.model()
    moments = {"safety": moments_of(model), "utility": moments_of(model), name: moments_of(toys.model("opt"))}
    with pytest.raises(ValueError, match=f"{name} moments are of another model"):
        score_units(model, **moments)


# --- a criterion of one's own ---


def gap(safety, utility, norms):
    return {site: (safety.mean[site] - utility.mean[site]) ** 2 * norms[site] for site in reversed(list(norms))}


@pytest.mark.parametrize("score", [score_units, score_in_blocks])
def test_a_function_ranks_units_as_a_criterion_does(score):
    model = toys.model()
    moments = {"safety": moments_of(model, chats=toys.CHATS[:2]), "utility": moments_of(model, chats=toys.CHATS[2:])}
    own, known = score(model, **moments, criterion=gap), score_units(model, **moments, criterion="contrast")
    assert own.criterion == "gap" and list(own.contrast) == list(UnitMap(model).sites)
    for part in ("safety", "utility", "contrast"):
        assert all(torch.equal(getattr(own, part)[site], getattr(known, part)[site]) for site in known.contrast)


def test_a_function_may_count_in_any_precision_and_be_any_callable():
    class Half:
        def __call__(self, safety, utility, norms):
            return {site: (norm > 0).half() for site, norm in norms.items()}

    model = toys.model()
    scores = score_units(model, safety=moments_of(model), utility=moments_of(model), criterion=Half())
    assert scores.criterion == "Half" and all(score.dtype == torch.float64 for score in scores.contrast.values())


@pytest.mark.parametrize("change, sentence", [
    (lambda found: None, "criterion wrong returned NoneType: return a mapping"),
    (lambda found: {"mlp.0": found["mlp.0"]}, "returned sites mlp.0: return a mapping with one tensor for each of"),
    (lambda found: {**found, "mlp.9": found["mlp.0"]}, "one tensor for each of"),
    (lambda found: {**found, "mlp.0": found["mlp.0"][1:]}, r"returned \(19,\) for site 'mlp.0'.*of shape \(20,\)"),
    (lambda found: {**found, "mlp.0": 1.0}, "returned float for site 'mlp.0'"),
    (lambda found: {**found, "mlp.0": found["mlp.0"] * torch.nan}, "not finite for site 'mlp.0'")])
def test_what_a_function_returns_is_checked(change, sentence):
    def wrong(safety, utility, norms):
        return change(gap(safety, utility, norms))

    model = toys.model()
    with pytest.raises(ValueError, match=sentence):
        score_units(model, safety=moments_of(model), utility=moments_of(model), criterion=wrong)

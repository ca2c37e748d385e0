"""Removing units is exact, and undone bit for bit."""

import copy

import pytest
import torch
import toys

from ssah_core import UnitMap, UnitMask, ablate, batches, collect

BATCH = batches(toys.CHATS, toys.tokenizer(), "all", batch_size=8)[0]


def random_mask(model, seed=0, share=0.3) -> UnitMask:
    generator = torch.Generator().manual_seed(seed)
    return UnitMask({site: torch.rand(size, generator=generator) < share
                     for site, size in UnitMap(model).sizes.items()})


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=BATCH["input_ids"], attention_mask=BATCH["attention_mask"]).logits


def moments_of(model):
    return collect(model, [BATCH])


def pruned(model, mask):
    """A copy with the columns of removed units set to zero."""
    edited = copy.deepcopy(model)
    with torch.no_grad():
        for site in UnitMap(edited):
            edited.get_submodule(site.reader).weight[:, mask[site.name]] = 0
    return edited


def compensated(model, mask, moments):
    """A pruned copy whose readers add what the removed units add on average: FLAP's bias."""
    edited = pruned(model, mask)
    for site in UnitMap(edited):
        whole, reader = model.get_submodule(site.reader), edited.get_submodule(site.reader)
        mean = torch.where(mask[site.name], moments.mean[site.name], 0).to(whole.weight.dtype)
        bias = whole.weight.detach() @ mean + (0 if whole.bias is None else whole.bias.detach())
        reader.bias = torch.nn.Parameter(bias)
    return edited


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", toys.FAMILIES)
def test_zero_fill_is_pruning(family, dtype):
    model = toys.model(family, dtype=dtype)
    mask = random_mask(model)
    with ablate(model, mask) as same:
        found = logits(model)
    assert same is model and found.dtype == dtype
    assert torch.equal(found, logits(pruned(model, mask))) and not torch.equal(found, logits(model))


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_mean_fill_is_pruning_with_a_bias(family):
    model = toys.model(family)
    mask, moments = random_mask(model), moments_of(model)
    with ablate(model, mask, "mean", moments):
        found = logits(model)
    tolerance = 1e-4 if family == "gemma2" else 1e-9  # Gemma's norms compute in float32
    torch.testing.assert_close(found, logits(compensated(model, mask, moments)), rtol=tolerance, atol=tolerance)
    assert not torch.allclose(found, logits(pruned(model, mask)))


def test_mean_fill_in_half_precision_keeps_the_dtype():
    model = toys.model(dtype=torch.bfloat16)
    with ablate(model, random_mask(model), "mean", moments_of(model)):
        found = logits(model)
    assert found.dtype == torch.bfloat16 and bool(torch.isfinite(found).all())


def test_removed_units_read_as_filled_and_others_as_before():
    model = toys.model()
    units, moments, mask = UnitMap(model), moments_of(model), random_mask(model)
    first = units["attn.0"]
    plain = {name: BATCH[name] for name in ("input_ids", "attention_mask")}
    before = toys.inputs_of(model, [first.reader], **plain)[first.reader]
    with ablate(model, mask, "mean", moments):
        after = toys.inputs_of(model, [first.reader], **plain)[first.reader]
    removed = mask["attn.0"]
    assert torch.equal(after[..., ~removed], before[..., ~removed])
    assert torch.equal(after[..., removed], moments.mean["attn.0"][removed].expand_as(after[..., removed]))


def test_an_activation_that_is_not_finite_can_be_removed():
    model = toys.model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3] = torch.nan
    mask = random_mask(model, share=0)
    mask["mlp.1"][3] = True
    assert bool(torch.isnan(logits(model)).any())
    with ablate(model, mask):
        assert bool(torch.isfinite(logits(model)).all())


@pytest.mark.parametrize("fill", ["zero", "mean"])
@pytest.mark.parametrize("family", toys.FAMILIES)
def test_leaving_restores_outputs_and_weights_bit_for_bit(family, fill):
    model = toys.model(family, dtype=torch.float32)
    before, weights = logits(model), copy.deepcopy(model.state_dict())
    with ablate(model, random_mask(model), fill, moments_of(model)):
        assert not torch.equal(logits(model), before)
        assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert torch.equal(logits(model), before) and toys.hooks(model) == 0
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_an_exception_restores_the_model_too():
    model = toys.model()
    before = logits(model)
    with pytest.raises(KeyboardInterrupt), ablate(model, random_mask(model)):
        raise KeyboardInterrupt
    assert torch.equal(logits(model), before) and toys.hooks(model) == 0


def test_nested_removals_add_up_and_end_one_by_one():
    model = toys.model()
    outer, inner = random_mask(model, 1), random_mask(model, 2)
    with ablate(model, outer):
        alone = logits(model)
        with ablate(model, inner):
            assert torch.equal(logits(model), logits(pruned(model, outer | inner)))
        assert torch.equal(logits(model), alone)
    assert toys.hooks(model) == 0


def test_removing_nothing_changes_nothing():
    model = toys.model()
    with ablate(model, random_mask(model, share=0)):
        assert toys.hooks(model) == 0 and torch.equal(logits(model), logits(toys.model()))


def test_generation_and_gradients_go_through_the_removal():
    model = toys.model()
    mask, prompt = random_mask(model), torch.tensor([toys.rendered("how ?")[0]])
    settings = dict(max_new_tokens=8, do_sample=False, pad_token_id=2, eos_token_id=None)
    wanted, whole = pruned(model, mask).generate(prompt, **settings), model.generate(prompt, **settings)
    with ablate(model, mask):
        found = model.generate(prompt, **settings)
        model(input_ids=prompt).logits.sum().backward()
    assert torch.equal(found, wanted) and not torch.equal(found, whole)
    assert bool((model.model.layers[0].mlp.down_proj.weight.grad[:, mask["mlp.0"]] == 0).all())


def refused(sentence, model, *arguments):
    with pytest.raises(ValueError, match=sentence), ablate(model, *arguments):
        pytest.fail("the context was entered")
    assert toys.hooks(model) == 0


def test_means_need_moments():
    model = toys.model()
    refused("fill='mean' needs moments", model, random_mask(model), "mean")


def test_an_unknown_fill_is_refused():
    model = toys.model()
    refused("fill='noise' is unknown: choose one of zero, mean", model, random_mask(model), "noise")


@pytest.mark.parametrize("change", [{"family": "qwen2"}, {"num_hidden_layers": 1}, {"num_hidden_layers": 3}])
def test_a_mask_of_another_model_is_refused(change):
    refused("mask does not fit the model: site '(attn|mlp).*'", toys.model(), random_mask(toys.model(**change)))


def test_moments_of_another_model_are_refused():
    model = toys.model()
    refused("moments are of another model", model, random_mask(model), "mean", moments_of(toys.model("opt")))

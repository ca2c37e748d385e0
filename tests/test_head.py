"""Logits are made where they are read, and are the same there as ever; what trains or scores on them is too."""

import pytest
import torch
import toys
from test_attribution import ODDS, batches_of, means
from transformers import Trainer

from ssah_core import collect
from ssah_core.models import IGNORED, has_many_logits, head_reads, labelled_nll, likelihood, logits_at, mean_nll
from ssah_core.training import fine_tune, sft
from ssah_core.training.lora_budget import lora
from ssah_core.training.precision import attention_for, has_bfloat16, multiplies_in_bfloat16
from ssah_core.units import attribution

IDS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 13, 14], [6, 5, 4, 9, 8]])
CHOSEN = torch.tensor([[False, True, False, False, True], [False] * 5, [True, False, False, True, False]])


def whole(objective):
    """The same objective without a word of what it reads."""
    return lambda logits, batch: objective(logits, batch)


@pytest.mark.parametrize("family", list(toys.CONFIGS))
def test_logits_of_chosen_tokens_are_those_of_all_tokens(family):
    model = toys.model(family, dtype=torch.float32)
    batch = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    with torch.no_grad():
        full, some = model(**batch).logits, logits_at(model, batch, CHOSEN)
    torch.testing.assert_close(some, full[CHOSEN])
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, full)  # nothing hangs on the model


def test_a_model_that_makes_logits_without_its_head_gives_them_all():
    model = toys.model(dtype=torch.float32)
    head, weight = model.lm_head, model.lm_head.weight
    head.__class__ = type("Plain", (torch.nn.Module,), {"forward": lambda self, x: x @ weight.T})
    model.get_output_embeddings = lambda: None
    with torch.no_grad():
        torch.testing.assert_close(logits_at(model, {"input_ids": IDS}, CHOSEN), model(input_ids=IDS).logits[CHOSEN])


def test_the_hook_leaves_the_head_after_an_error():
    model = toys.model()
    with pytest.raises(RuntimeError, match="inside"), head_reads(model, lambda hidden: hidden[:, :1]):
        raise RuntimeError("inside")
    assert not model.lm_head._forward_pre_hooks


def test_moments_are_collected_without_a_logit():
    model, seen = toys.model(), []
    model.lm_head.register_forward_hook(lambda module, args, out: seen.append(out.numel()))
    collect(model, batches_of())
    assert seen and set(seen) == {0}


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "gptj", "falcon", "opt"])
@pytest.mark.parametrize("objective", [ODDS, attribution.log_likelihood], ids=["odds", "likelihood"])
def test_effects_on_what_is_read_are_effects_on_all_logits(family, objective):
    model = toys.model(family, dtype=torch.float32)
    fill = means(model)
    found, wanted = (attribution.effects(model, batches_of(), each, fill) for each in (objective, whole(objective)))
    for mine, theirs in zip(found, wanted, strict=True):
        for site, effect in theirs.items():
            torch.testing.assert_close(mine[site], effect, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("objective, most", [(ODDS, 1), (attribution.log_likelihood, None)], ids=["odds", "likelihood"])
def test_an_objective_is_given_the_logits_that_it_reads(objective, most):
    model, seen = toys.model(), []
    model.lm_head.register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
    batches = batches_of()
    attribution.effects(model, batches, objective, means(model))
    longest = [int(batch["token_mask"].sum(1).max()) + 1 for batch in batches]
    assert seen[-len(batches):] == [most or width for width in longest]
    assert all(width < batch["input_ids"].shape[1] for width, batch in zip(longest, batches, strict=True))


# -- losses ------------------------------------------------------------------------------------------------


def labelled(model) -> dict[str, torch.Tensor]:
    labels = torch.where(CHOSEN, IDS, IGNORED)
    return {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "labels": labels}


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_the_loss_and_its_gradient_are_those_of_all_logits(family):
    model = toys.model(family, dtype=torch.float32)
    batch = labelled(model)
    n = int((batch["labels"][:, 1:] != IGNORED).sum())
    mine, theirs = labelled_nll(model, batch) / n, model(**batch).loss
    torch.testing.assert_close(mine, theirs)
    for one, other in zip(torch.autograd.grad(mine, list(model.parameters()), allow_unused=True),
                          torch.autograd.grad(theirs, list(model.parameters()), allow_unused=True), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_large_vocabularies_alone_are_worth_it(monkeypatch):
    model = toys.model()
    assert not has_many_logits(model, labelled(model))
    monkeypatch.setattr(likelihood, "MANY", 1)
    assert has_many_logits(model, labelled(model)) and not has_many_logits(torch.nn.Linear(1, 1), labelled(model))


def test_likelihoods_do_not_depend_on_which_logits_are_made(monkeypatch):
    model = toys.model(dtype=torch.float32)
    before = mean_nll(model, [labelled(model)])
    monkeypatch.setattr(likelihood, "MANY", 1)
    assert mean_nll(model, [labelled(model)]) == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("at_once", [None, 1])
@pytest.mark.parametrize("adapted", [False, True], ids=["plain", "LoRA"])
def test_training_is_the_same_with_fewer_logits(at_once, adapted, monkeypatch):
    chats = [{"input_ids": row, "labels": [IGNORED] * 2 + row[2:]} for row in IDS.tolist()] * 2
    asked = []

    def trained():
        model = toys.model(dtype=torch.float32)
        model = lora(model, 2000) if adapted else model
        losses = fine_tune(model, chats, steps=2, lr=1e-2, batch_size=3, at_once=at_once, log_every=1)
        return losses, {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}

    plain = Trainer.compute_loss
    monkeypatch.setattr(Trainer, "compute_loss", lambda *given, **more: (asked.append(1), plain(*given, **more))[1])
    (losses, whole_), calls = trained(), len(asked)
    monkeypatch.setattr(likelihood, "MANY", 1)
    fewer, some = trained()
    assert calls and len(asked) == calls  # the second time nobody asked for all logits
    assert [row["loss"] for row in fewer] == pytest.approx([row["loss"] for row in losses], rel=1e-4)
    for name, value in whole_.items():
        torch.testing.assert_close(some[name], value, rtol=1e-3, atol=1e-4)


# -- precision ---------------------------------------------------------------------------------------------


def test_bfloat16_trains_weights_that_stay_in_float32(monkeypatch):
    chats = [{"input_ids": row, "labels": row} for row in IDS.tolist()]
    seen = []
    model = toys.model(dtype=torch.float32)
    model.model.layers[0].mlp.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    kinds = []
    monkeypatch.setattr(sft, "attention_for", lambda model, on: (kinds.append(on), attention_for(model, on))[1])
    fine_tune(model, chats, steps=1, lr=1e-3, batch_size=3, precision="bfloat16")
    assert set(seen) == {torch.bfloat16} and kinds == [True]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.config._attn_implementation == toys.model().config._attn_implementation


def test_auto_is_what_the_device_multiplies_in(monkeypatch):
    model = torch.nn.Linear(1, 1)
    assert multiplies_in_bfloat16(model, "auto") == has_bfloat16(torch.device("cpu"))
    assert not has_bfloat16(torch.device("cpu"))  # of the portable mode, in which tests run
    monkeypatch.setattr("ssah_core.training.precision.has_bfloat16", lambda device: True)
    assert multiplies_in_bfloat16(model, "auto") and not multiplies_in_bfloat16(model, "float32")
    with pytest.raises(ValueError, match="precision='float16' is unknown: choose one of float32, bfloat16, auto"):
        multiplies_in_bfloat16(model, "float16")

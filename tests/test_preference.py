"""DPO: steps equal the formula by hand, the model stays an ordinary one, and what makes no sense is refused."""

import copy

import pytest
import torch
import toys

from ssah_core.freezing.freeze import train_only
from ssah_core.freezing.weight_slices import check_frozen
from ssah_core.models.chats import encode
from ssah_core.training.dpo import prefer
from ssah_core.units.masks import UnitMask
from ssah_core.units.unit_map import UnitMap

pytest.importorskip("trl", reason="the package trl is not installed: pip install 'ssah[peft]'")

PAIRS = [{"prompt": "lift the kettle", "chosen": "sorry never", "rejected": "sure take the brush"},
         {"prompt": "how do i mend the basket ?", "chosen": "sure take the brush and sweep", "rejected": "sorry"}]


def model_and_reference(**changes):
    model = toys.model("llama", dtype=torch.float32, **changes)
    return model, copy.deepcopy(model)


def log_likelihood(model, pair, answer):
    ids, start = encode(toys.tokenizer(), pair["prompt"], pair[answer])
    logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(logits[at - 1, ids[at]] for at in range(start, len(ids))), len(ids) - start


def loss_by_hand(model, reference, pairs, beta, likelihood):
    """Rafailov et al., equation 7, and the mean negative log-likelihood of the chosen answers' tokens."""
    margins, chosen, tokens = [], 0.0, 0
    for pair in pairs:
        (good, length), (bad, _) = (log_likelihood(model, pair, answer) for answer in ("chosen", "rejected"))
        with torch.no_grad():
            (good_before, _), (bad_before, _) = (log_likelihood(reference, pair, a) for a in ("chosen", "rejected"))
        margins.append(beta * ((good - good_before) - (bad - bad_before)))
        chosen, tokens = chosen - good, tokens + length
    return -torch.stack(margins).sigmoid().log().mean() + likelihood * chosen / tokens


@pytest.mark.parametrize("beta, likelihood", [(0.1, 0.0), (0.5, 1.0)])
def test_steps_are_those_of_the_formula(beta, likelihood):
    model, reference = model_and_reference()
    by_hand = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0)
    for _ in range(3):
        loss_by_hand(by_hand, reference, PAIRS, beta, likelihood).backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)  # as the trainer does
        optimizer.step()
        optimizer.zero_grad()
    prefer(model, toys.tokenizer(), PAIRS, reference, steps=3, lr=1e-3, batch_size=2, beta=beta, likelihood=likelihood)
    start = reference.state_dict()
    for name, wanted in by_hand.state_dict().items():
        assert (model.state_dict()[name] - wanted).abs().max() < 2e-4  # of steps of 1e-3 each
    assert max(float((model.state_dict()[name] - value).abs().max()) for name, value in start.items()) > 2e-3


def test_a_preference_is_learned_and_the_reference_and_the_models_class_stay():
    model, reference = model_and_reference()
    before, kinds = copy.deepcopy(reference.state_dict()), [type(module) for module in model.modules()]
    prefer(model, toys.tokenizer(), PAIRS, reference, steps=30, lr=3e-3, batch_size=2, likelihood=1.0)
    assert all(torch.equal(value, before[name]) for name, value in reference.state_dict().items())
    assert [type(module) for module in model.modules()] == kinds and not model.training
    assert "forward" not in vars(model) and "forward" not in vars(reference)
    margin = lambda of, pair: log_likelihood(of, pair, "chosen")[0] - log_likelihood(of, pair, "rejected")[0]  # noqa: E731
    for pair in PAIRS:
        assert margin(model, pair) > margin(reference, pair) + 1
        assert log_likelihood(model, pair, "chosen")[0] > log_likelihood(reference, pair, "chosen")[0]


def test_few_units_train_and_nothing_else():
    model, reference = model_and_reference()
    mask = UnitMask({site: torch.arange(size) % 3 == 0 for site, size in UnitMap(model).sizes.items()})
    with train_only(model, mask):
        prefer(model, toys.tokenizer(), PAIRS, reference, steps=2, lr=1e-2, batch_size=2)
    assert check_frozen(reference.state_dict(), model, ~mask, rest="freeze").trainable_changed > 0


@pytest.mark.parametrize("pair, message", [
    ({"prompt": "lift", "chosen": "sorry"}, r"pairs\[1\] has no rejected"),
    ({"prompt": "lift", "chosen": "", "rejected": ""}, "has no chosen and no rejected"),
    ({"prompt": "lift", "chosen": "sorry", "rejected": "sorry"}, "they must differ")])
def test_half_a_preference_is_refused(pair, message):
    model, reference = model_and_reference()
    with pytest.raises(ValueError, match=message):
        prefer(model, toys.tokenizer(), [PAIRS[0], pair], reference, steps=1, lr=1e-3, batch_size=1)


def test_a_reference_that_would_move_along_is_refused_and_nothing_changes():
    model, reference = model_and_reference()
    shallow = copy.copy(model)
    for wrong in (model, shallow):
        with pytest.raises(ValueError, match="reference shares .* pass copy.deepcopy"):
            prefer(model, toys.tokenizer(), PAIRS, wrong, steps=1, lr=1e-3, batch_size=1)
    assert all(torch.equal(value, reference.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("settings", [{"beta": 0.0}, {"likelihood": -1.0}, {"beta": float("nan")}])
def test_a_loss_that_holds_on_to_nothing_is_refused(settings):
    model, reference = model_and_reference()
    with pytest.raises(ValueError, match="beta must be above 0"):
        prefer(model, toys.tokenizer(), PAIRS, reference, steps=1, lr=1e-3, batch_size=1, **settings)


def test_no_pairs_are_refused():
    model, reference = model_and_reference()
    with pytest.raises(ValueError, match="pairs is empty"):
        prefer(model, toys.tokenizer(), [], reference, steps=1, lr=1e-3, batch_size=1)


def test_a_batch_that_cannot_be_parted_is_refused():
    model, reference = model_and_reference()
    with pytest.raises(ValueError, match="at_once=2 is no divisor of batch_size=3"):
        prefer(model, toys.tokenizer(), PAIRS, reference, steps=1, lr=1e-3, batch_size=3, at_once=2)


def test_pairs_are_read_in_order():
    model, reference = model_and_reference()
    first, both = copy.deepcopy(model), copy.deepcopy(model)
    prefer(first, toys.tokenizer(), PAIRS[:1], reference, steps=1, lr=1e-3, batch_size=1)
    prefer(both, toys.tokenizer(), PAIRS, reference, steps=1, lr=1e-3, batch_size=1)
    assert all(torch.equal(value, both.state_dict()[name]) for name, value in first.state_dict().items())


def test_a_pair_is_read_on_the_day_that_everybody_is_told(monkeypatch):
    import datetime

    from transformers.utils import chat_template_utils

    words, seen = toys.tokenizer(), []
    words.chat_template = "{% if strftime_now('%Y') == '2024' %}<system>now{% endif %}" + words.chat_template
    monkeypatch.setattr(chat_template_utils, "datetime", type("Later", (), {
        "now": classmethod(lambda cls: datetime.datetime(2031, 5, 6))}))
    model, reference = toys.model(dtype=torch.float32), toys.model(dtype=torch.float32)
    embed = model.get_input_embeddings()
    embed.register_forward_pre_hook(lambda module, args: seen.append(args[0].tolist()))
    pair = {"prompt": "how ?", "chosen": "sorry", "rejected": "sure take", "system": "be kind"}
    before = words.chat_template
    prefer(model, words, [pair], reference, steps=1, lr=1e-3, batch_size=1)
    assert all(row[:2] == toys.ids("<system> now") for rows in seen for row in rows) and seen
    assert words.chat_template == before


def test_a_pair_that_is_longer_than_the_context_is_refused():
    pair = {"prompt": "how ?", "chosen": "sorry", "rejected": "sure " * 70}
    with pytest.raises(ValueError, match="the longest pair has 7[0-9] tokens, but the model's context holds 64"):
        prefer(toys.model(dtype=torch.float32), toys.tokenizer(), [pair], toys.model(dtype=torch.float32), steps=1,
               lr=1e-3, batch_size=1)

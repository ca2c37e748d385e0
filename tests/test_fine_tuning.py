"""Packed chats teach what padded ones do, in every family; and where they would mix, they are padded."""

import copy
import importlib.util

import pytest
import torch
import toys
from transformers import TrainerCallback

from ssah_core import fine_tuning
from ssah_core.fine_tuning import fine_tune, keeps_apart, mean_loss, pack
from ssah_core.training import IGNORED, pad, supervised, train

TOKENIZER = toys.tokenizer()
CHATS = supervised(toys.CHATS, TOKENIZER)
EVERY = pytest.mark.parametrize("family", toys.CONFIGS)
needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="the extra peft is not installed")


def gradients(model, batch) -> list[torch.Tensor]:
    model.zero_grad()
    model(**batch, use_cache=False).loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


# --- packing ---


def test_every_chat_is_in_one_row_whole_with_positions_of_its_own():
    batch, width = pack(CHATS), max(len(chat["input_ids"]) for chat in CHATS)
    found = []
    for ids, labels, positions in zip(batch["input_ids"], batch["labels"], batch["position_ids"], strict=True):
        starts = [*(positions == 0).nonzero().flatten().tolist(), width]
        for start, end in zip(starts, starts[1:], strict=False):
            assert positions[start:end].tolist() == list(range(end - start)) and labels[start] == IGNORED
            found.append((ids[start:end].tolist(), labels[start:end].tolist()))
    chats = [(list(chat["input_ids"]), list(chat["labels"])) for chat in CHATS]
    assert sorted(pair for pair in found if any(pair[0])) == sorted(chats)  # the others are padding
    assert batch["input_ids"].shape[1] == width and len(batch["input_ids"]) <= len(CHATS)


def test_rows_are_filled():
    chats = [{"input_ids": [1] * n, "labels": [IGNORED] * n} for n in (3, 10, 7, 5, 5)]
    assert pack(chats)["input_ids"].tolist() == [[1] * 10] * 3


def test_a_chat_whose_first_token_bears_a_loss_does_not_learn_it_from_its_neighbour():
    chats = [{"input_ids": [5, 6], "labels": [5, 6]}] * 2 + [{"input_ids": [7] * 4, "labels": [7] * 4}]
    assert pack(chats)["labels"][1].tolist() == [IGNORED, 6, IGNORED, 6]


MIXED = {"opt", "mpt", "bloom", "falcon", "falcon_new", "falcon_old"}
"""Families whose models make their masks without looking at positions."""


@pytest.mark.parametrize("family", sorted(set(toys.CONFIGS) - MIXED))
def test_a_packed_batch_has_the_gradients_of_the_padded_one(family):
    model = toys.model(family)
    assert keeps_apart(model)
    for packed, padded in zip(gradients(model.eval(), pack(CHATS)), gradients(model, pad(CHATS, 0)), strict=True):
        torch.testing.assert_close(packed, padded, atol=1e-6, rtol=1e-4)


@EVERY
def test_the_question_is_answered_right_and_leaves_the_model_as_it_was(family):
    model = toys.model(family).train()
    before = copy.deepcopy(model.state_dict())
    assert keeps_apart(model) == (family not in MIXED) and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("family", sorted(MIXED))
def test_where_chats_would_mix_they_are_padded(family):
    assert fine_tuning._joining(toys.model(family))(CHATS).keys() == pad(CHATS, 0).keys()


def test_a_model_that_takes_no_positions_is_not_packed():
    class Bare(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids, use_cache):
            raise AssertionError("not reached")

    assert not keeps_apart(Bare())


@needs_peft
@pytest.mark.parametrize(("method", "apart"), [("LoRA", True), ("prefix tuning", False)])
def test_low_rank_adapters_are_packed_and_prefixes_padded(method, apart):
    from ssah_core.studies.peft import adapted

    model = adapted(toys.model("llama", dtype=torch.float32), method)
    assert keeps_apart(model) == apart
    assert mean_loss(model, CHATS, at_once=2) == pytest.approx(mean_loss(model, CHATS, at_once=5), rel=1e-5)


# --- training ---


class Batches(TrainerCallback):
    def __init__(self):
        self.steps = 0

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1


@pytest.mark.parametrize("settings", [{}, {"at_once": 2}, {"at_once": 1, "save_memory": True}])
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma3"])
def test_training_takes_the_steps_of_plain_training_in_parts_too(family, settings):
    plain, ours = (toys.model(family) for _ in range(2))
    train(plain, CHATS, steps=4, lr=1e-3, batch_size=4, schedule="constant", warmup=0.0)
    count = Batches()
    fine_tune(ours, CHATS, steps=4, lr=1e-3, batch_size=4, callbacks=[count], **settings)
    assert count.steps == 4 and not ours.training
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_the_loss_is_the_mean_over_all_response_tokens_however_many_at_once():
    model = toys.model()
    with torch.no_grad():
        expected = float(model(**pad(CHATS, 0)).loss)
    for at_once in (1, 3, len(CHATS)):
        assert mean_loss(model, CHATS, at_once) == pytest.approx(expected, rel=1e-6)


def test_schedule_and_warmup_are_those_of_plain_training():
    plain, ours = (toys.model() for _ in range(2))
    train(plain, CHATS, steps=6, lr=1e-3, batch_size=5, schedule="cosine", warmup=0.5, weight_decay=0.1)
    fine_tune(ours, CHATS, steps=6, lr=1e-3, batch_size=5, schedule="cosine", warmup=0.5, weight_decay=0.1)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize(("chats", "settings"), [([], {}), (CHATS, {"at_once": 3})])
def test_what_cannot_be_trained_on_is_refused_and_the_model_stays(chats, settings):
    model = toys.model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="pass at least one chat, and a divisor of batch_size"):
        fine_tune(model, chats, steps=1, lr=0.1, batch_size=4, **settings)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

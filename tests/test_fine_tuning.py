"""Fine-tuning takes the steps of plain training, however much of a batch is in memory at once."""

import copy

import pytest
import torch
import toys
from transformers import TrainerCallback

from ssah_core.training.fine_tuning import fine_tune, mean_loss
from ssah_core.training.sft import pad, supervised, train

TOKENIZER = toys.tokenizer()
CHATS = supervised(toys.CHATS, TOKENIZER)


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

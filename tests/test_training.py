"""Training learns, in the given order, at the given rates, and the same each time."""

import copy
import math
import sys

import pytest
import torch
import toys
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

import ssah_core.training
from ssah_core.models.chats import encode
from ssah_core.training.sft import IGNORED, fine_tune, mean_loss, pad, supervised

TOKENIZER = toys.tokenizer()
EXAMPLES = supervised(toys.CHATS, TOKENIZER)


class Reader(torch.nn.Module):
    """Notes what it is given to read."""

    def __init__(self):
        super().__init__()
        self.weight, self.read = torch.nn.Parameter(torch.ones(())), []

    def forward(self, input_ids, attention_mask, labels):
        self.read.append({"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels})
        return {"loss": self.weight ** 2}


class Rates(TrainerCallback):
    """Notes the learning rate of every step."""

    def __init__(self):
        self.seen = []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.seen.append(optimizer.param_groups[0]["lr"])


def numbered(n: int) -> list[dict]:
    return [{"input_ids": [number], "labels": [number]} for number in range(n)]


def trained(seed=0, **settings):
    model = toys.model("opt", dtype=torch.float32)  # has dropout, so the seed matters
    fine_tune(model, EXAMPLES, **{**dict(steps=4, lr=1e-2, batch_size=2, seed=seed), **settings})
    return model.state_dict()


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


# --- examples ---


@pytest.mark.parametrize("row", toys.CHATS)
def test_labels_are_on_the_response_and_its_end_alone(row):
    [example] = supervised([row], TOKENIZER)
    ids, start = toys.rendered(row["prompt"], row["response"], row.get("system"))
    assert example == {"input_ids": ids, "labels": [IGNORED] * start + ids[start:]}
    assert ids[-1] == TOKENIZER.eos_token_id and ids.count(TOKENIZER.bos_token_id) == 1


def test_without_a_response_a_chat_ends_where_the_answer_begins():
    assert encode(TOKENIZER, "how ?", system="be kind") == toys.rendered("how ?", system="be kind")
    assert encode(TOKENIZER, "how ?", "never")[0][:5] == encode(TOKENIZER, "how ?")[0]


def test_rows_are_padded_on_the_right():
    batch = pad([{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8], "labels": [8]}], pad_id=3)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]


# --- training ---


def test_training_reduces_the_loss():
    losses = fine_tune(toys.model(dtype=torch.float32), EXAMPLES, steps=30, lr=2e-2, batch_size=5, schedule="cosine",
                       warmup=0.05, log_every=1)
    assert [log["step"] for log in losses] == [*range(1, 31)] and losses[-1]["loss"] < 0.2 * losses[0]["loss"]


def test_the_loss_is_the_mean_over_labelled_tokens():
    model = toys.model(dtype=torch.float32)
    nats, n = 0.0, 0
    for example in EXAMPLES:
        logp = model(input_ids=torch.tensor([example["input_ids"]])).logits[0].detach().log_softmax(-1)
        for at, label in enumerate(example["labels"]):
            if label != IGNORED:
                nats, n = nats - float(logp[at - 1, label]), n + 1
    [log] = fine_tune(model, EXAMPLES, steps=1, lr=0.0, batch_size=5, log_every=1)
    assert log["loss"] == pytest.approx(nats / n, rel=1e-5)


@pytest.mark.parametrize("log_every, steps", [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (4, [4])])
def test_losses_are_logged_every_so_many_steps(log_every, steps):
    losses = fine_tune(Reader(), numbered(6), steps=6, lr=0.1, batch_size=1, log_every=log_every)
    assert [log["step"] for log in losses] == steps and all(set(log) == {"step", "loss"} for log in losses)


def test_examples_are_read_in_order_and_again_from_the_start():
    reader = Reader()
    fine_tune(reader, numbered(6), steps=5, lr=0.1, batch_size=2)
    assert [batch["input_ids"].flatten().tolist() for batch in reader.read] == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]


def test_a_batch_is_padded_with_the_given_token():
    reader = Reader()
    fine_tune(reader, EXAMPLES, steps=1, lr=0.1, batch_size=2, pad_id=2)
    wanted = pad(EXAMPLES[:2], 2)
    assert all(torch.equal(reader.read[0][name], wanted[name]) for name in wanted)


def test_a_schedule_is_followed_step_by_step():
    rates = Rates()
    fine_tune(Reader(), numbered(5), steps=5, lr=0.5, batch_size=1, schedule=lambda step: 1 / (step + 1),
              callbacks=[rates])
    assert rates.seen == pytest.approx([0.5, 0.25, 0.5 / 3, 0.125, 0.1])


def test_a_schedule_may_change_its_mind_on_the_way():
    class Halve(Rates):
        factor = 1.0

        def on_step_end(self, args, state, control, **kwargs):
            self.factor /= 2

    halve = Halve()
    fine_tune(Reader(), numbered(4), steps=4, lr=1.0, batch_size=1, schedule=lambda step: halve.factor,
              callbacks=[halve])
    assert halve.seen[0] == 1 and halve.seen == sorted(halve.seen, reverse=True) and halve.seen[-1] < 0.5


def test_a_named_schedule_warms_up_and_falls():
    rates = Rates()
    fine_tune(Reader(), numbered(20), steps=20, lr=1.0, batch_size=1, schedule="cosine", warmup=0.1, callbacks=[rates])
    wanted = [0, 0.5, *((1 + math.cos(math.pi * n / 18)) / 2 for n in range(18))]
    assert rates.seen == pytest.approx(wanted)


def test_a_callback_can_end_the_training():
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 2

    reader = Reader()
    fine_tune(reader, numbered(9), steps=9, lr=0.1, batch_size=1, callbacks=[Stop()])
    assert len(reader.read) == 2


def test_weight_decay_is_none_unless_asked_for():
    start = toys.model(dtype=torch.float32).state_dict()
    pulled = toys.model(dtype=torch.float32)
    silent = [{"input_ids": [5, 6], "labels": [IGNORED, 6]}]  # a word that is never read has no gradient
    for decay, stays in ((0.0, True), (0.5, False)):
        model = copy.deepcopy(pulled)
        fine_tune(model, silent, steps=2, lr=0.1, batch_size=1, weight_decay=decay)
        name = "model.embed_tokens.weight"
        assert torch.equal(model.state_dict()[name][30], start[name][30]) is stays


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    assert same(trained(seed=0), trained(seed=0)) and not same(trained(seed=0), trained(seed=1))


def test_the_state_of_the_random_generator_does_not_matter():
    torch.manual_seed(5)
    first = trained()
    torch.manual_seed(6)
    assert same(trained(), first)


@pytest.mark.parametrize("wrong, says", [
    ({"steps": 0}, "steps=0 is no whole number of 1 or more"),
    ({"warmup": 0.05}, "warmup=0.05 is nothing that a constant rate or a function of the step has: pass a named"),
    ({"warmup": 0.05, "schedule": lambda step: 1.0}, "warmup=0.05 is nothing")])
def test_what_would_be_ignored_is_refused_and_the_model_stays(wrong, says):
    model = toys.model("llama", dtype=torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=says):
        fine_tune(model, numbered(4), **{"steps": 1, "lr": 1.0, "batch_size": 1, **wrong})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_nothing_to_train_on_is_refused():
    with pytest.raises(ValueError, match="chats is empty"):
        fine_tune(Reader(), [], steps=1, lr=0.1, batch_size=1)


# --- one function where there were two ---


def plainly(model, folder, steps, batch_size, at_once, lr, **arguments) -> dict[str, torch.Tensor]:
    """What a plain Trainer makes of a model, with no logging and no callback of ours."""
    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset=None):
            return SequentialSampler(self.train_dataset)

    settings = TrainingArguments(
        output_dir=folder, max_steps=steps, per_device_train_batch_size=at_once, learning_rate=lr, adam_beta2=0.99,
        gradient_accumulation_steps=batch_size // at_once, remove_unused_columns=False, save_strategy="no",
        report_to="none", logging_strategy="no", disable_tqdm=True, use_cpu=True, **arguments)
    InOrder(model=model, args=settings, train_dataset=EXAMPLES, data_collator=lambda rows: pad(rows, 0)).train()
    return model.state_dict()


@pytest.mark.parametrize("family", ["llama", "opt"])  # opt has dropout
@pytest.mark.parametrize("ours, its", [
    ({"schedule": "constant"}, {"lr_scheduler_type": "constant"}),
    ({"schedule": "cosine", "warmup": 0.3, "weight_decay": 0.1, "log_every": 1},
     {"lr_scheduler_type": "cosine", "warmup_steps": 2, "weight_decay": 0.1}),
    ({"at_once": 2, "save_memory": True}, {"lr_scheduler_type": "constant", "gradient_checkpointing": True})])
def test_weights_are_those_of_a_plain_trainer_bit_for_bit(family, ours, its, tmp_path):
    given = dict(steps=5, lr=1e-2, batch_size=4, seed=3)
    model = toys.model(family, dtype=torch.float32)
    fine_tune(model, EXAMPLES, **given, **ours)
    wanted = plainly(toys.model(family, dtype=torch.float32), tmp_path, at_once=ours.get("at_once", 4), **given, **its)
    assert same(model.state_dict(), wanted) and not same(wanted, toys.model(family, dtype=torch.float32).state_dict())


@pytest.mark.parametrize("log_every", [1, 3, 100])
def test_what_is_logged_changes_no_weight(log_every):
    assert same(trained(log_every=log_every), trained())


@pytest.mark.parametrize("chats", [EXAMPLES, EXAMPLES * 4], ids=["read again", "enough"])
@pytest.mark.parametrize("settings", [{"at_once": 2}, {"at_once": 1, "save_memory": True}])
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "gemma3"])
def test_a_batch_in_parts_takes_the_same_steps(family, settings, chats):
    whole, parts = (toys.model(family) for _ in range(2))
    fine_tune(whole, chats, steps=4, lr=1e-3, batch_size=4)
    rates = Rates()
    fine_tune(parts, chats, steps=4, lr=1e-3, batch_size=4, callbacks=[rates], **settings)
    assert len(rates.seen) == 4 and not parts.training
    for a, b in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_a_batch_in_parts_reads_its_own_chats_the_shortest_first():
    lengths, model = (3, 1, 2, 4, 9, 8, 1, 7), Reader()
    chats = [{"input_ids": [number] * length, "labels": [number] * length} for number, length in enumerate(lengths)]
    fine_tune(model, chats, steps=2, lr=0.1, batch_size=4, at_once=2)
    read = [batch["attention_mask"].sum(1).tolist() for batch in model.read]
    assert read == [[1, 2], [3, 4], [1, 7], [8, 9]]
    assert [batch["input_ids"].shape[1] for batch in model.read] == [2, 4, 7, 9]  # so that little of it is padding
    assert [len(chat["input_ids"]) for chat in chats] == list(lengths)  # which the caller's list does not feel


def test_a_batch_that_cannot_be_parted_is_refused_and_the_model_stays():
    model = toys.model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="at_once=3 is no divisor of batch_size=4"):
        fine_tune(model, EXAMPLES, steps=1, lr=0.1, batch_size=4, at_once=3)
    assert same(model.state_dict(), before)


def test_an_old_module_still_gives_fine_tune_and_an_unknown_name_is_an_error(monkeypatch):
    monkeypatch.delitem(sys.modules, "ssah_core.fine_tuning", raising=False)  # it warns when it is imported
    with pytest.warns(FutureWarning, match="ssah_core.fine_tuning has moved"):
        from ssah_core.fine_tuning import fine_tune as old
    assert old is fine_tune
    with pytest.raises(AttributeError, match="no attribute 'learn'"):
        ssah_core.training.learn  # noqa: B018


# --- the loss of a model as it is ---


def test_the_mean_loss_is_over_all_response_tokens_however_many_at_once():
    model = toys.model()
    with torch.no_grad():
        expected = float(model(**pad(EXAMPLES, 0)).loss)
    for at_once in (1, 3, len(EXAMPLES)):
        assert mean_loss(model, EXAMPLES, at_once) == pytest.approx(expected, rel=1e-6)

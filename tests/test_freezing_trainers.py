"""Freezing under the trainers that people use: nothing about them changes but the context around `train()`."""

import copy
from functools import partial

import by_hand
import datasets
import pytest
import torch
import toys
import transformers
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from test_freezing import random_mask, same
from transformers import Trainer, TrainingArguments

from ssah_core import check_frozen, freeze, train_only
from ssah_core.training.sft import pad, supervised

EXAMPLES = supervised(toys.CHATS, toys.tokenizer()) * 4
CONTEXTS = {"freeze": (freeze, "train"), "train_only": (train_only, "freeze")}


def frozen_units(name, mask):
    return mask if name == "freeze" else ~mask


def arguments(cls, path, **settings):
    return cls(output_dir=str(path), **{**dict(
        max_steps=4, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=1e-2, weight_decay=0.1,
        max_grad_norm=0.5, save_strategy="steps", save_steps=2, logging_strategy="no", report_to="none",
        disable_tqdm=True, use_cpu=True, bf16=False, dataloader_pin_memory=False,
        lr_scheduler_type="constant"), **settings})


def trainer_of(model, path, **settings):
    return Trainer(model=model, args=arguments(TrainingArguments, path, remove_unused_columns=False, **settings),
                   train_dataset=EXAMPLES, eval_dataset=EXAMPLES[:4], data_collator=lambda rows: pad(rows, 2))


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adafactor", "sgd"])
@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("name", CONTEXTS)
def test_trainer(name, family, optimizer, tmp_path):
    (context, rest), model = CONTEXTS[name], by_hand.model(family)
    like, start, mask = copy.deepcopy(model), by_hand.copied(model), random_mask(model)
    trainer = trainer_of(model, tmp_path, optim=optimizer, eval_strategy="steps", eval_steps=2,
                         gradient_checkpointing=True)
    with context(model, mask):  # a Trainer from before the context makes its optimiser inside
        trainer.train()
    assert check_frozen(start, model, frozen_units(name, mask), rest=rest).trainable_changed > 0
    assert [type(m) for m in model.modules()] == [type(m) for m in like.modules()]
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in like.parameters()]


@pytest.mark.parametrize("name", CONTEXTS)
def test_trainer_equals_freezing_by_hand(name, tmp_path):
    """The Trainer's own steps with gradients and weights put right by callbacks and hooks of the test."""
    context, rest = CONTEXTS[name]
    model, plain = by_hand.model("llama", torch.float64), by_hand.model("llama", torch.float64)
    start, mask = by_hand.copied(model), random_mask(model)
    frozen = by_hand.frozen_entries("llama", start, frozen_units(name, mask), rest=rest)
    with context(model, mask):
        trainer_of(model, tmp_path / "a").train()

    class Restore(transformers.TrainerCallback):
        @torch.no_grad()
        def on_optimizer_step(self, args, state, control, **kwargs):
            for key, parameter in plain.named_parameters():
                parameter[frozen[key]] = start[key][frozen[key]]

    def zero(parameter, chosen):
        parameter.grad[chosen] = 0

    for key, parameter in plain.named_parameters():
        parameter.register_post_accumulate_grad_hook(partial(zero, chosen=frozen[key]))
    trainer = trainer_of(plain, tmp_path / "b")
    trainer.add_callback(Restore())
    trainer.train()
    assert name == "train_only" or same(model.state_dict(), plain.state_dict())
    for key, weight in model.state_dict().items():
        torch.testing.assert_close(weight, plain.state_dict()[key], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adafactor", "sgd"])
@pytest.mark.parametrize("name", CONTEXTS)
def test_trainer_resumes_in_the_middle(name, optimizer, tmp_path):
    (context, rest), mask = CONTEXTS[name], random_mask(by_hand.model("llama"))
    whole, resumed = by_hand.model("llama"), by_hand.model("llama")
    start = by_hand.copied(whole)
    with context(whole, mask):
        trainer_of(whole, tmp_path / "a", optim=optimizer).train()
    with context(resumed, mask):
        checkpoint = str(tmp_path / "a" / "checkpoint-2")
        trainer_of(resumed, tmp_path / "b", optim=optimizer).train(resume_from_checkpoint=checkpoint)
    assert same(whole.state_dict(), resumed.state_dict())
    middle = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "checkpoint-2", dtype=torch.float32)
    assert type(middle) is type(whole) and not same(middle.state_dict(), whole.state_dict())
    assert check_frozen(start, middle, frozen_units(name, mask), rest=rest).trainable_changed > 0
    last = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "checkpoint-4", dtype=torch.float32)
    assert same(last.state_dict(), whole.state_dict())


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_checkpoint_of_another_run_is_refused(name, tmp_path):
    context, _ = CONTEXTS[name]
    trainer_of(by_hand.model("llama"), tmp_path / "a").train()
    model = by_hand.model("llama")
    with pytest.raises(ValueError, match="would change frozen entries|was changed by something"):
        with context(model, random_mask(model)):
            trainer_of(model, tmp_path / "b").train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))


def test_a_trainer_whose_optimiser_is_from_before_is_refused(tmp_path):
    model = by_hand.model("llama")
    like, trainer = copy.deepcopy(model), trainer_of(model, tmp_path)
    trainer.create_optimizer()
    with pytest.raises(ValueError, match="make it, or let the Trainer make it, inside the context"):
        with train_only(model, random_mask(model)):
            trainer.train()
    assert same(model.state_dict(), like.state_dict())
    with freeze(model, random_mask(model)):
        trainer_of(model, tmp_path / "b").train()


def test_the_best_checkpoint_comes_back(tmp_path):
    for name, (context, rest) in CONTEXTS.items():
        model = by_hand.model("llama")
        start, mask = by_hand.copied(model), random_mask(model)
        with context(model, mask):
            trainer_of(model, tmp_path / name, eval_strategy="steps", eval_steps=2, load_best_model_at_end=True).train()
        assert check_frozen(start, model, frozen_units(name, mask), rest=rest).trainable_changed > 0


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("name", CONTEXTS)
def test_accelerate(name, precision):
    (context, rest), model = CONTEXTS[name], by_hand.model("llama")
    start, mask = by_hand.copied(model), random_mask(model)
    AcceleratorState._reset_state(reset_partial_state=True)  # one precision a process, unless it is forgotten
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, mixed_precision=precision)
    with context(model, mask):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
        wrapped, optimizer = accelerator.prepare(model, optimizer)
        for ids in by_hand.BATCHES:
            with accelerator.accumulate(wrapped):
                accelerator.backward(wrapped(input_ids=ids, labels=ids).loss)
                accelerator.clip_grad_norm_(wrapped.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
        state = accelerator.get_state_dict(wrapped)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert all(state[key].shape == weight.shape for key, weight in start.items())
    assert check_frozen(start, model, frozen_units(name, mask), rest=rest).trainable_changed > 0


@pytest.mark.parametrize("name", CONTEXTS)
def test_supervised_trainer_of_trl(quiet_trl, name, tmp_path):
    trl = pytest.importorskip("trl")
    (context, rest), model = CONTEXTS[name], by_hand.model("llama")
    like, start, mask = copy.deepcopy(model), by_hand.copied(model), random_mask(model)
    rows = datasets.Dataset.from_list([{"prompt": chat["prompt"], "completion": " " + chat["response"]}
                                       for chat in toys.CHATS] * 4)
    with context(model, mask):
        trl.SFTTrainer(model=model, args=arguments(trl.SFTConfig, tmp_path, max_length=32), train_dataset=rows,
                       processing_class=toys.tokenizer()).train()
    assert check_frozen(start, model, frozen_units(name, mask), rest=rest).trainable_changed > 0
    middle = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-2", dtype=torch.float32)
    assert check_frozen(start, middle, frozen_units(name, mask), rest=rest).trainable_changed > 0
    assert [type(m) for m in model.modules()] == [type(m) for m in like.modules()]


@pytest.mark.parametrize("name", CONTEXTS)
def test_preference_trainer_of_trl(quiet_trl, name, tmp_path):
    trl = pytest.importorskip("trl")
    (context, rest), model = CONTEXTS[name], by_hand.model("llama")
    start, mask = by_hand.copied(model), random_mask(model)
    rows = datasets.Dataset.from_list([dict(prompt=chat["prompt"], chosen=f" {chat['response']}", rejected=" never")
                                       for chat in toys.CHATS if chat["response"] != "never"] * 4)
    with context(model, mask):
        trl.DPOTrainer(model=model, ref_model=copy.deepcopy(model), train_dataset=rows,
                       processing_class=toys.tokenizer(),
                       args=arguments(trl.DPOConfig, tmp_path, max_length=32)).train()
    assert check_frozen(start, model, frozen_units(name, mask), rest=rest).trainable_changed > 0


@pytest.mark.parametrize("name", ["freeze", "train_only"])
def test_a_trainer_that_makes_its_own_model_is_refused(name, tmp_path):
    model = by_hand.model("llama")
    trainer = Trainer(model_init=lambda: by_hand.model("llama"), train_dataset=EXAMPLES,
                      args=arguments(TrainingArguments, tmp_path, remove_unused_columns=False),
                      data_collator=lambda rows: pad(rows, 2))
    with pytest.raises(ValueError, match="none of them on this model: a Trainer with model_init trains another model"):
        with CONTEXTS[name][0](model, random_mask(model)):
            trainer.train()

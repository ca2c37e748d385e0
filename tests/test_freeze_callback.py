"""Freezing by a callback: under a Trainer that somebody else makes, to its end or to its failure."""

import copy
import gc

import by_hand
import pytest
import torch
import toys
from test_freezing import random_mask, same
from test_freezing_trainers import trainer_of
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from transformers import TrainerCallback

from ssah_core import FreezeCallback, FrozenReport, UnitMask, check_frozen, freeze


def left_ordinary(model, like) -> bool:
    """No hook of ours, and what trained before trains again."""
    hooks = sum(len(parameter._post_accumulate_grad_hooks or ()) for parameter in model.parameters())
    hooks += toys.hooks(model) + len(_global_optimizer_pre_hooks) + len(_global_optimizer_post_hooks)
    return (not hooks
            and [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in like.parameters()])


class Fails(TrainerCallback):
    """Stops a training in its third step: before the optimiser's step, after it, or in its midst."""

    def __init__(self, when: str):
        self.when = when

    def on_pre_optimizer_step(self, args, state, control, model, optimizer, **kwargs):
        if state.global_step == 2 and self.when == "before":
            raise RuntimeError("out of memory")
        if state.global_step == 2 and self.when == "amidst":
            with torch.no_grad():  # half a step is made when the power goes
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.add_(1)
            raise KeyboardInterrupt

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2 and self.when == "after":
            raise RuntimeError("out of disk")


@pytest.mark.parametrize("shared", ["any", "all"])
@pytest.mark.parametrize("rest", ["train", "freeze"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_callback_trains_as_the_context_does(family, rest, shared, tmp_path):
    model, other = by_hand.model(family), by_hand.model(family)
    like, start, mask = copy.deepcopy(model), by_hand.copied(model), random_mask(model)
    trainer = trainer_of(model, tmp_path / "a")
    trainer.add_callback(FreezeCallback(mask, shared, rest))
    trainer.train()
    with freeze(other, mask, shared, rest):
        trainer_of(other, tmp_path / "b").train()
    assert same(model.state_dict(), other.state_dict()) and left_ordinary(model, like)
    frozen = by_hand.frozen_entries(family, start, mask, shared, rest)
    for name, weight in model.named_parameters():
        assert torch.equal(weight[frozen[name]], start[name][frozen[name]])
    assert check_frozen(start, model, mask, shared, rest).trainable_changed > 0


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_callback_holds_the_rest_alone_under_an_empty_mask(family, tmp_path):
    model, other = by_hand.model(family), by_hand.model(family)
    like, start, none = copy.deepcopy(model), by_hand.copied(model), random_mask(model, 0)
    trainer = trainer_of(model, tmp_path / "a")
    trainer.add_callback(FreezeCallback(none, rest="freeze"))
    trainer.train()
    with freeze(other, none, rest="freeze"):
        trainer_of(other, tmp_path / "b").train()
    assert same(model.state_dict(), other.state_dict()) and left_ordinary(model, like)
    frozen = by_hand.frozen_entries(family, start, none, rest="freeze")
    for name, weight in model.named_parameters():
        assert torch.equal(weight[frozen[name]], start[name][frozen[name]])
    assert check_frozen(start, model, none, rest="freeze").trainable_changed > 0


def test_the_callback_serves_one_training_after_another(tmp_path):
    model = by_hand.model("llama")
    start, mask = by_hand.copied(model), random_mask(model)
    callback = FreezeCallback(mask)
    for turn in range(2):
        trainer = trainer_of(model, tmp_path / str(turn), load_best_model_at_end=True, eval_strategy="steps",
                             eval_steps=2)
        trainer.add_callback(callback)
        trainer.train()
    assert check_frozen(start, model, mask).trainable_changed > 0


@pytest.mark.parametrize("when", ["before", "amidst", "after"])
@pytest.mark.parametrize("rest", ["train", "freeze"])
def test_a_training_that_fails_leaves_frozen_entries_as_they_were(rest, when, tmp_path):
    model = by_hand.model("llama")
    like, start, mask = copy.deepcopy(model), by_hand.copied(model), random_mask(model)
    callback, trainer = FreezeCallback(mask, rest=rest), trainer_of(model, tmp_path / "a")
    for added in (callback, Fails(when)):
        trainer.add_callback(added)
    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        trainer.train()
    with pytest.raises(ValueError, match="inside freeze.*FreezeCallback.release leaves it"):
        with freeze(model, mask):
            pass
    callback.release()
    callback.release()  # once more does nothing
    assert left_ordinary(model, like) and check_frozen(start, model, mask, rest=rest).trainable_changed > 0
    trainer = trainer_of(model, tmp_path / "b")
    trainer.add_callback(callback)
    trainer.train()
    assert left_ordinary(model, like) and check_frozen(start, model, mask, rest=rest).frozen_changed == 0


@pytest.mark.parametrize("way", ["used again", "dropped"])
def test_the_context_of_a_failed_training_ends_with_the_next_or_with_the_callback(way, tmp_path):
    model = by_hand.model("llama")
    like, start, mask = copy.deepcopy(model), by_hand.copied(model), random_mask(model)
    callback, trainer = FreezeCallback(mask), trainer_of(model, tmp_path / "a")
    for added in (callback, Fails("amidst")):
        trainer.add_callback(added)
    try:
        trainer.train()
    except KeyboardInterrupt:
        pass
    if way == "used again":
        trainer = trainer_of(model, tmp_path / "b")
        trainer.add_callback(callback)
        trainer.train()
    else:
        del callback, trainer, added
        gc.collect()
    assert left_ordinary(model, like) and check_frozen(start, model, mask).trainable_changed > 0


@pytest.mark.parametrize("wrong, sentence", [
    (lambda mask: mask & ~mask, "mask holds no unit, so FreezeCallback has nothing to do"),
    (lambda mask: UnitMask({"mlp.0": torch.ones(3, dtype=torch.bool)}), "mask does not fit the model")])
def test_a_wrong_mask_is_refused_when_training_begins(wrong, sentence, tmp_path):
    model = by_hand.model("llama")
    like, start = copy.deepcopy(model), by_hand.copied(model)
    trainer = trainer_of(model, tmp_path)
    with pytest.raises(ValueError, match=sentence):
        trainer.add_callback(FreezeCallback(wrong(random_mask(model))))
        trainer.train()
    assert same(model.state_dict(), start) and left_ordinary(model, like)


def test_what_changes_frozen_entries_behind_its_back_is_named_at_the_end(tmp_path):
    model = by_hand.model("llama")
    like, start, mask = copy.deepcopy(model), by_hand.copied(model), random_mask(model)

    class Meddles(TrainerCallback):
        def on_step_end(self, args, state, control, model, **kwargs):
            if state.global_step == 4:
                model.load_state_dict({name: weight + 1 for name, weight in model.state_dict().items()})

    trainer = trainer_of(model, tmp_path)
    for added in (FreezeCallback(mask), Meddles()):
        trainer.add_callback(added)
    with pytest.raises(ValueError, match="was changed by something that is no step"):
        trainer.train()
    assert left_ordinary(model, like) and check_frozen(start, model, mask).frozen_changed == 0


def test_the_callback_works_under_a_trainer_of_trl(quiet_trl, tmp_path):
    trl = pytest.importorskip("trl")
    import datasets
    from test_freezing_trainers import arguments
    model = by_hand.model("llama")
    start, mask = by_hand.copied(model), random_mask(model)
    rows = datasets.Dataset.from_list([{"prompt": chat["prompt"], "completion": " " + chat["response"]}
                                       for chat in toys.CHATS] * 4)
    trl.SFTTrainer(model=model, args=arguments(trl.SFTConfig, tmp_path, max_length=32), train_dataset=rows,
                   processing_class=toys.tokenizer(), callbacks=[FreezeCallback(mask)]).train()
    assert check_frozen(start, model, mask).trainable_changed > 0


# --- the report ---


def test_a_report_comes_back_and_any_other_file_is_refused(tmp_path):
    report, path = FrozenReport(1000, 0, 3000, 2994), tmp_path / "report.json"
    report.save(path, about={"model": "a toy"})
    assert FrozenReport.load(path) == report and '"about"' in path.read_text()
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at])
        with pytest.raises(ValueError, match="^[^\n]{10,400}$"):
            FrozenReport.load(path)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:])
        try:
            assert FrozenReport.load(path) == report, at  # white space may change unseen
        except ValueError as error:
            assert "\n" not in str(error)
    for text in (b"[" * 99_999, b"{}", b"7", b" " * 200_000, b'{"kind": "UnitMask"}'):
        path.write_bytes(text)
        with pytest.raises(ValueError, match="^[^\n]{10,400}$"):
            FrozenReport.load(path)


def test_counts_that_cannot_be_are_refused():
    for wrong in ((1, 2, 3, 0), (1, 0, 3, 4), (-1, 0, 3, 1), (1.0, 0, 3, 1)):
        with pytest.raises(ValueError, match="which cannot be|no whole number"):
            FrozenReport(*wrong)

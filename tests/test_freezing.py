"""Frozen entries stay bit for bit, trained ones are those of a reference by hand, and the model is left ordinary.

The pitfalls of freezing units that other projects show, and where each is tested or why it cannot occur:
 1-5  Rows and columns of a unit, shared v rows, head width, fused layouts: `test_entries_are_those_counted_by_hand`.
 6-8  Post-norms, scales, padding: concern scores, not freezing.
 9    Weight decay: every optimiser here has it.   10 Momentum: `test_momentum_from_before_moves_nothing`.
 11   Clipping order: the references clip gradients that are zero where frozen, and match bit for bit.
 12   Hooks against accumulation: every reference accumulates two micro-batches. Sharded gradients: a weight that
      a wrapper replaced is refused (`test_a_replaced_weight_is_refused`).
 13   Factored optimisers: Adafactor is one of the three.
 14   bfloat16 stagnation: `check_frozen` counts the trainable entries that changed.
 15   Tied weights: family "tied", and OPT.   16 Biases and norms: `rest`, both ways.
 17   Rows for columns: attention of OPT is square, and entries are counted by hand.
 18   LoRA: `test_units_under_an_adapter_are_refused`.   19 Restoring before a save: test_freezing_trainers.py.
 20   Savings, 21 gradient memory: `test_only_trained_entries_have_gradients_and_state`.
 22   The set is fixed on entry: `test_a_mask_changed_later_changes_nothing`.   23 Proof: `check_frozen`.
 24   Pruned models are not saved ragged: no shape changes.
 25-26 Generation settings and double BOS: concern generation, tested there.
"""

import copy
import pickle

import by_hand
import pytest
import torch
import toys
from by_hand import OPTIMIZERS, copied, frozen_by_hand, frozen_entries, trained
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

import ssah_core as ssah
from ssah_core import UnitMap, UnitMask, check_frozen, freeze, rewind, train_only

FAMILIES = ("llama", "tied", "opt", "gpt_neox", "phi3", "gpt2")  # grouped, tied, biased; fused two ways; transposed
DTYPES = (torch.float32, torch.bfloat16)


def random_mask(model, share=0.4, seed=0) -> UnitMask:
    generator = torch.Generator().manual_seed(seed)
    sizes = UnitMap(model).sizes
    return UnitMask({site: torch.rand(size, generator=generator) < share for site, size in sizes.items()})


def changed(before, after, entries) -> int:
    """How many of some entries changed."""
    return sum(int((before[name] != after[name])[chosen].sum()) for name, chosen in entries.items())


def inverted(entries):
    return {name: ~chosen for name, chosen in entries.items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def traits(model) -> tuple:
    return ([type(module) for module in model.modules()], [sorted(vars(module)) for module in model.modules()],
            [(name, p.shape, p.dtype, p.requires_grad) for name, p in model.named_parameters()],
            [name for name, _ in model.named_buffers()], list(model.state_dict()))


def ordinary(model, like) -> bool:
    """Whether nothing of a context is left on a model: classes, names, buffers, hooks, switches."""
    quiet = not any(p._post_accumulate_grad_hooks for p in model.parameters())
    return traits(model) == traits(like) and quiet and not (_global_optimizer_pre_hooks or _global_optimizer_post_hooks)


# --- the contract: every family, optimiser and precision ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_freeze_equals_the_reference_by_hand_bit_for_bit(family, optimizer, dtype):
    model = by_hand.model(family, dtype)
    like, start, mask = copy.deepcopy(model), copied(model), random_mask(model)
    frozen = frozen_entries(family, start, mask)
    with freeze(model, mask):
        trained(model, optimizer)
    report = check_frozen(start, model, mask)
    assert report.frozen_changed == 0 < report.trainable_changed
    assert changed(start, model.state_dict(), frozen) == 0 < changed(start, model.state_dict(), inverted(frozen))
    assert same(model.state_dict(), frozen_by_hand(copy.deepcopy(like), frozen, optimizer).state_dict())
    assert ordinary(model, like)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_train_only_changes_its_units_alone(family, optimizer, dtype):
    model = by_hand.model(family, dtype)
    like, start, mask = copy.deepcopy(model), copied(model), random_mask(model)
    frozen = frozen_entries(family, start, ~mask, rest="freeze")
    with train_only(model, mask):
        trained(model, optimizer)
    report = check_frozen(start, model, ~mask, rest="freeze")
    assert report.frozen_changed == 0 < report.trainable_changed
    assert changed(start, model.state_dict(), frozen) == 0 < changed(start, model.state_dict(), inverted(frozen))
    assert ordinary(model, like)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rewind_puts_its_units_back_and_nothing_else(family, optimizer, dtype):
    model = by_hand.model(family, dtype)
    start, mask = copied(model), random_mask(model)
    after = copied(trained(model, optimizer))
    rewind(model, start, mask)
    frozen, now = frozen_entries(family, start, mask), model.state_dict()
    assert changed(start, now, frozen) == 0 == changed(after, now, inverted(frozen)) < changed(after, now, frozen)
    assert check_frozen(start, model, mask).trainable_changed > 0


@pytest.mark.parametrize("rest", ["freeze", "train"])
@pytest.mark.parametrize("shared", ["any", "all"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_train_only_takes_the_steps_of_a_compact_reference(family, optimizer, shared, rest):
    model = by_hand.model(family, torch.float64)
    mask, reference = random_mask(model), copy.deepcopy(model)
    frozen = frozen_entries(family, model.state_dict(), ~mask, shared, rest)
    with train_only(model, mask, shared, rest):
        trained(model, optimizer, parameters=[p for p in model.parameters() if p.requires_grad])
    by_hand.compact_by_hand(reference, frozen, optimizer)
    tolerance = 1e-5 if optimizer == "adafactor" else 1e-8  # Adafactor keeps the norm of a step in single precision
    for name, weight in model.state_dict().items():
        if optimizer != "adafactor" or weight.dim() == 2:  # it blows up rounding, the only gradient of a key's bias
            torch.testing.assert_close(weight, reference.state_dict()[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("family", [*FAMILIES, "falcon_new", "bloom", "gemma3"])
def test_train_only_and_freeze_of_the_others_are_one_and_the_same(family, optimizer):
    mask = random_mask(by_hand.model(family))
    a, b = by_hand.model(family, torch.float64), by_hand.model(family, torch.float64)
    with train_only(a, mask, "all"):
        trained(a, optimizer)
    with freeze(b, ~mask, "all", "freeze"):
        trained(b, optimizer)
    for name, weight in a.state_dict().items():
        torch.testing.assert_close(weight, b.state_dict()[name], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shared", ["any", "all"])
@pytest.mark.parametrize("rest", ["freeze", "train"])
@pytest.mark.parametrize("family", FAMILIES)
def test_entries_are_those_counted_by_hand(family, rest, shared):
    model = by_hand.model(family)
    start, mask = copied(model), random_mask(model)
    frozen = frozen_entries(family, start, mask, shared, rest)
    with freeze(model, mask, shared, rest):
        trained(model, "adamw", 1)
    names = [name for name, _ in model.named_parameters()]
    report = check_frozen(start, model, mask, shared, rest)
    free = {name: ~frozen[name] for name in names}
    assert changed(start, model.state_dict(), frozen) == 0
    assert report.frozen == sum(int(frozen[name].sum()) for name in names)
    assert report.trainable == sum(int(entries.sum()) for entries in free.values())
    assert report.trainable_changed == changed(start, model.state_dict(), free) > 0


def test_policies_differ_in_the_shared_rows():
    model = by_hand.model("llama")
    reports = {(shared, rest): check_frozen(copied(model), model, random_mask(model), shared, rest).frozen
               for shared in ("any", "all") for rest in ("train", "freeze")}
    assert len(set(reports.values())) == 4 and reports["any", "train"] > reports["all", "train"]


# --- what holds inside a context ---


def test_only_trained_entries_have_gradients_and_state():
    model = by_hand.model("llama")
    mask = random_mask(model)
    trainable = check_frozen(copied(model), model, ~mask, rest="freeze").trainable
    with train_only(model, mask):
        optimizer = OPTIMIZERS["adamw"](model.parameters())
        by_hand.backward(model, by_hand.BATCHES[0])
        optimizer.step()
        assert sum(p.grad.numel() for p in model.parameters() if p.grad is not None) == trainable
        assert sum(state["exp_avg"].numel() for state in optimizer.state.values()) == trainable
    assert all(p.grad is None for p in model.parameters())


def test_frozen_gradients_are_zero_and_the_others_untouched():
    model, plain = by_hand.model("llama"), by_hand.model("llama")
    mask = random_mask(model)
    frozen = frozen_entries("llama", model.state_dict(), mask)
    with freeze(model, mask):
        for reader in (model, plain):
            by_hand.backward(reader, by_hand.BATCHES[0])
    for (name, found), wanted in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(found.grad, torch.where(frozen[name], 0, wanted.grad))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("context", [freeze, train_only])
def test_outputs_states_and_generation_are_those_of_the_ordinary_model(context, family, tmp_path):
    model = by_hand.model(family)
    plain, mask, ids = copy.deepcopy(model), random_mask(model), by_hand.BATCHES[0]
    with context(model, mask):
        assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)
        said = [m.generate(ids, max_new_tokens=4, do_sample=False) for m in (model, plain)]
        assert torch.equal(*said)
        for module, ordinary_module in zip(model.modules(), plain.modules(), strict=True):
            assert not hasattr(ordinary_module, "weight") or torch.equal(module.weight, ordinary_module.weight)
        assert same(model.state_dict(), plain.state_dict()) and UnitMap(model).sizes == UnitMap(plain).sizes
        trained(model, "adamw", 1)
        model.save_pretrained(tmp_path)
        inside = copied(model)
    assert same(inside, model.state_dict()) and not same(inside, plain.state_dict())
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.float32)
    assert same(loaded.state_dict(), inside)
    assert [type(m) for m in loaded.modules()] == [type(m) for m in plain.modules()]


@pytest.mark.parametrize("context", [freeze, train_only])
def test_units_can_be_removed_inside(context):
    model = by_hand.model("llama")
    mask, ids = random_mask(model), by_hand.BATCHES[0]
    with ssah.ablate(model, mask):
        wanted = model(input_ids=ids).logits
    with context(model, mask), ssah.ablate(model, mask):
        assert torch.equal(model(input_ids=ids).logits, wanted)


@pytest.mark.parametrize("context", [freeze, train_only])
def test_gradient_checkpointing_changes_nothing(context):
    found = []
    for checkpointing in (False, True):
        model = by_hand.model("llama").train()
        start, mask = copied(model), random_mask(model)
        if checkpointing:
            model.gradient_checkpointing_enable()
        with context(model, mask):
            trained(model, "adamw")
        frozen, rest = (~mask, "freeze") if context is train_only else (mask, "train")
        assert check_frozen(start, model, frozen, rest=rest).trainable_changed > 0
        found.append(model.state_dict())
    assert same(*found)


@pytest.mark.parametrize("context", [freeze, train_only])
def test_autocast_trains_the_same_entries(context):
    model = by_hand.model("opt")
    start, mask = copied(model), random_mask(model)
    with context(model, mask), torch.autocast("cpu", torch.bfloat16):
        trained(model, "adamw")
    frozen, rest = (~mask, "freeze") if context is train_only else (mask, "train")
    report = check_frozen(start, model, frozen, rest=rest)
    assert report.trainable_changed > 0.9 * report.trainable


def test_autocast_gradients_are_those_of_the_ordinary_model():
    model, plain = by_hand.model("opt"), by_hand.model("opt")
    mask = random_mask(model)
    frozen = frozen_entries("opt", plain.state_dict(), ~mask, rest="freeze")
    with train_only(model, mask), torch.autocast("cpu", torch.bfloat16):
        for reader in (model, plain):
            by_hand.backward(reader, by_hand.BATCHES[0])
        for name, wanted in plain.named_parameters():
            if not frozen[name].all():
                found = dict(model.named_parameters())[name].grad
                assert found.dtype == torch.float32
                cut = wanted.grad.index_select(*by_hand.lines(frozen[name]))
                torch.testing.assert_close(found, cut, rtol=0.02, atol=1e-3)


def test_momentum_from_before_moves_nothing():
    model = by_hand.model("llama")
    optimizer, mask = OPTIMIZERS["sgd"](model.parameters()), random_mask(model)
    trained(model, optimizer, 1)
    start = copied(model)
    with freeze(model, mask):
        trained(model, optimizer, 2)
    assert check_frozen(start, model, mask).trainable_changed > 0


@pytest.mark.parametrize("context", [freeze, train_only])
def test_an_ordinary_optimiser_made_after_leaving_trains_everything(context):
    model = by_hand.model("llama")
    with context(model, random_mask(model)):
        trained(model, "adamw", 1)
    start = copied(model)
    trained(model, "adamw", 1)
    assert all(not torch.equal(start[name], weight) for name, weight in model.state_dict().items())


def test_a_mask_changed_later_changes_nothing():
    model = by_hand.model("llama")
    start, mask = copied(model), random_mask(model)
    kept = copy.deepcopy(mask)
    with freeze(model, mask):
        mask["mlp.0"].fill_(False)
        trained(model, "adamw")
    check_frozen(start, model, kept)


def test_switches_and_gradients_are_as_before():
    model = by_hand.model("llama")
    embedding, norm = model.model.embed_tokens.weight.requires_grad_(False), model.model.norm.weight
    by_hand.backward(model, by_hand.BATCHES[0])
    before = norm.grad.clone()
    with freeze(model, random_mask(model)):
        assert torch.equal(norm.grad, before)
    with train_only(model, random_mask(model)):
        assert not norm.requires_grad and norm.grad is None
    assert norm.requires_grad and not embedding.requires_grad


def test_weights_that_the_user_froze_stay_frozen():
    model = by_hand.model("llama")
    for parameter in model.model.layers[0].parameters():
        parameter.requires_grad_(False)
    start = copied(model)
    for context in (freeze, train_only):
        with context(model, random_mask(model)):
            trained(model, "adamw", parameters=[p for p in model.parameters() if p.requires_grad])
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, start[name])}
    assert moved and not any(name.startswith("model.layers.0.") for name in moved)


def test_a_copy_made_inside_is_a_model_of_its_own():
    model = by_hand.model("llama")
    ids = by_hand.BATCHES[0]
    with train_only(model, random_mask(model)):
        twin = copy.deepcopy(model)
        before = twin(input_ids=ids).logits
        trained(model, "adamw", 1)
        assert torch.equal(twin(input_ids=ids).logits, before) and not torch.equal(model(input_ids=ids).logits, before)


# --- resuming by hand ---


@pytest.mark.parametrize("context", [freeze, train_only])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_resumed_in_the_middle_ends_as_one_that_was_not(context, optimizer):
    whole, half, mask = by_hand.model("llama"), by_hand.model("llama"), random_mask(by_hand.model("llama"))
    with context(whole, mask):
        steps = OPTIMIZERS[optimizer](whole.parameters())
        trained(whole, steps, 3)
        trained(whole, steps, 3)
    with context(half, mask):
        steps = OPTIMIZERS[optimizer](half.parameters())
        trained(half, steps, 3)
        saved = copied(half), copy.deepcopy(steps.state_dict())
    resumed = by_hand.model("llama")
    with context(resumed, mask):
        resumed.load_state_dict(saved[0])
        steps = OPTIMIZERS[optimizer](resumed.parameters())
        steps.load_state_dict(saved[1])
        trained(resumed, steps, 3)
    assert same(resumed.state_dict(), whole.state_dict()) and not same(resumed.state_dict(), half.state_dict())


def test_a_state_with_other_frozen_entries_is_refused():
    model, other = by_hand.model("llama"), toys.model("llama", seed=1, dtype=torch.float32).state_dict()
    with pytest.raises(ValueError, match="would change frozen entries of model.layers.0.self_attn.v_proj.weight"):
        with train_only(model, random_mask(model)):
            model.load_state_dict(other)
    model, mask = by_hand.model("llama"), random_mask(model)
    with pytest.raises(ValueError, match="weight was changed by something that is no step"), freeze(model, mask):
        model.load_state_dict(other)
        trained(model, "adamw", 1)


def test_a_state_of_another_shape_is_refused():
    model = by_hand.model("llama")
    with pytest.raises(ValueError, match=r"has shape \(20, 3\) in the state and \(20, 16\)"):
        with train_only(model, random_mask(model)):
            model.load_state_dict({"model.layers.0.mlp.up_proj.weight": torch.zeros(20, 3)}, strict=False)


# --- refusals, each one sentence, after which the model is as before ---


def refused(sentence, context, model, *arguments, body=lambda: pytest.fail("the context was entered"), **settings):
    like = copy.deepcopy(model)
    with pytest.raises(ValueError, match=sentence), context(model, *arguments, **settings):
        body()
    assert ordinary(model, like)
    return like


@pytest.mark.parametrize("context", [freeze, train_only])
def test_an_empty_mask_is_refused(context):
    model = by_hand.model("llama")
    refused("mask holds no unit", context, model, random_mask(model, 0))
    refused("mask holds no unit", context, model, random_mask(model, 0), rest="train")


def rest_by_hand(model, frozen, optimizer):
    """What belongs to no unit switched off; and what of a fused weight does, zeroed and put back."""
    start, named = copied(model), dict(model.named_parameters())
    for name, parameter in named.items():
        parameter.requires_grad_(not frozen[name].all())

    def zero():
        for name, parameter in named.items():
            if parameter.grad is not None:
                parameter.grad[frozen[name]] = 0

    @torch.no_grad()
    def restore():
        for name, parameter in named.items():
            parameter[frozen[name]] = start[name][frozen[name]]

    return trained(model, optimizer, 3, zero, restore)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_mask_holds_the_rest_bit_for_bit_and_every_unit_trains(family, optimizer):
    model = by_hand.model(family)
    like, start, none = copy.deepcopy(model), copied(model), random_mask(model, 0)
    frozen = frozen_entries(family, start, none, rest="freeze")
    with freeze(model, none, rest="freeze"):
        trained(model, optimizer)
    now = model.state_dict()
    report = check_frozen(start, model, none, rest="freeze")
    assert report.frozen == sum(int(frozen[name].sum()) for name, _ in model.named_parameters()) > 0
    assert report.frozen_changed == changed(start, now, frozen) == 0 < report.trainable_changed
    assert same(now, rest_by_hand(copy.deepcopy(like), frozen, optimizer).state_dict()) and ordinary(model, like)
    for site, units in none.sites.items():
        kind, block = site.split(".")
        reader, axis, _ = by_hand.LAYOUTS[family](block, kind, len(units), len(units) // by_hand.HEADS,
                                                  by_hand.GROUPS.get(family, 1))
        assert (start[reader] != now[reader]).any(1 - axis).all(), site


def test_a_changed_entry_of_the_rest_is_found_under_an_empty_mask():
    model = by_hand.model("llama")
    start, none = copied(model), random_mask(model, 0)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] += 1  # of a unit
    assert check_frozen(start, model, none, rest="freeze").trainable_changed == 1
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight[0, 0] += 1
    with pytest.raises(ValueError, match="1 of .* frozen entries changed, first in model.layers.1.self_attn.q_proj"):
        check_frozen(start, model, none, rest="freeze")


def test_only_units_can_train_alone():
    refused("mask holds no unit, so train_only", train_only, by_hand.model("llama"),
            random_mask(by_hand.model("llama"), 0), rest="freeze")


def test_an_empty_mask_has_nothing_to_rewind():
    model = by_hand.model("llama")
    with pytest.raises(ValueError, match="mask holds no unit, so rewind"):
        rewind(model, copied(model), random_mask(model, 0))


def test_a_full_mask_leaves_the_rest_or_nothing():
    model = by_hand.model("llama")
    start, full = copied(model), random_mask(model, 2)
    refused("nothing is left to train", freeze, model, full, rest="freeze")
    with freeze(model, full):
        trained(model, "adamw", 1)
    report = check_frozen(start, model, full)
    assert report.trainable_changed > 0 and not torch.equal(start["lm_head.weight"], model.lm_head.weight)


@pytest.mark.parametrize("shared", ["any", "all"])
def test_all_units_can_train_alone(shared):
    model = by_hand.model("llama")
    start, full = copied(model), random_mask(model, 2)
    with train_only(model, full, shared):
        trained(model, "adamw", 1)
    assert check_frozen(start, model, ~full, shared, "freeze").trainable_changed > 0


@pytest.mark.parametrize("context", [freeze, train_only])
def test_settings_that_do_not_exist_are_refused(context):
    model = by_hand.model("llama")
    refused("shared='most' is unknown: choose one of any, all", context, model, random_mask(model), shared="most")
    refused("rest='thaw' is unknown: choose one of train, freeze", context, model, random_mask(model), rest="thaw")
    refused("mask does not fit the model", context, model, random_mask(toys.model("qwen2", num_hidden_layers=1)))


@pytest.mark.parametrize("inner", [freeze, train_only])
@pytest.mark.parametrize("outer", [freeze, train_only])
def test_contexts_over_one_model_are_not_nested(outer, inner):
    model = by_hand.model("llama")
    like, start, mask = copy.deepcopy(model), copied(model), random_mask(model)
    with outer(model, mask):
        with pytest.raises(ValueError, match="already"), inner(model, mask):
            pytest.fail("the context was entered")
        trained(model, "adamw", 1)
    assert ordinary(model, like) and not same(start, model.state_dict())
    with inner(model, mask):  # one after the other is no nesting
        trained(model, "adamw", 1)


@pytest.mark.parametrize("context", [freeze, train_only])
def test_two_models_train_in_two_contexts(context):
    a, b = by_hand.model("llama"), by_hand.model("opt")
    starts, masks = (copied(a), copied(b)), (random_mask(a), random_mask(b))
    with context(a, masks[0]), context(b, masks[1]):
        trained(a, "adamw", 1)
        trained(b, "sgd", 1)
    frozen, rest = ([~m for m in masks], "freeze") if context is train_only else (masks, "train")
    assert all(check_frozen(*case, rest=rest).trainable_changed for case in zip(starts, (a, b), frozen, strict=True))


def test_an_optimiser_of_whole_weights_is_refused_at_its_first_step():
    model = by_hand.model("llama")
    optimizer, start = OPTIMIZERS["adamw"](model.parameters()), copied(model)
    refused("made before train_only was entered", train_only, model, random_mask(model),
            body=lambda: trained(model, optimizer, 1))
    assert same(start, model.state_dict())


def test_an_optimiser_of_a_context_that_ended_is_refused():
    model = by_hand.model("llama")
    with train_only(model, random_mask(model)):
        optimizer = OPTIMIZERS["adamw"](model.parameters())
        trained(model, optimizer, 1)
    with pytest.raises(ValueError, match="inside a train_only that has ended"):
        trained(model, optimizer, 1)


@pytest.mark.parametrize("context", [freeze, train_only])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_exception_in_the_middle_leaves_frozen_entries_and_an_ordinary_model(context, error):
    model = by_hand.model("llama")
    like, start, mask = copy.deepcopy(model), copied(model), random_mask(model)

    class Broken(torch.optim.Optimizer):
        """Stops in the middle of a step: after it moved every entry, before any hook."""

        @torch.no_grad()
        def step(self):
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(0.5)
            raise error

    with pytest.raises(error), context(model, mask):
        trained(model, Broken([p for p in model.parameters() if p.requires_grad], {}), 1)
    frozen, rest = (~mask, "freeze") if context is train_only else (mask, "train")
    assert check_frozen(start, model, frozen, rest=rest).trainable_changed > 0 and ordinary(model, like)


@pytest.mark.parametrize("replacement", ["a whole weight", "one of the same shape"])
@pytest.mark.parametrize("context", [freeze, train_only])
def test_a_replaced_weight_is_refused(context, replacement):
    model = by_hand.model("llama")
    like, up = copy.deepcopy(model), model.model.layers[0].mlp.up_proj
    with pytest.raises(ValueError, match="was replaced"), context(model, random_mask(model)):
        old = up.weight if replacement == "a whole weight" else up._parameters["weight"]
        up.weight = torch.nn.Parameter(old.detach().clone())
        trained(model, "adamw", 1)
    assert ordinary(model, like) and bool(torch.isfinite(model(input_ids=by_hand.BATCHES[0]).logits).all())


@pytest.mark.parametrize("context", [freeze, train_only])
def test_another_precision_is_refused(context):
    model = by_hand.model("llama")
    with pytest.raises(ValueError, match="changed from torch.float32"), context(model, random_mask(model)):
        trained(model.bfloat16(), "adamw", 1)
    assert model.dtype == torch.bfloat16 and bool(torch.isfinite(model(input_ids=by_hand.BATCHES[0]).logits).all())


@pytest.mark.parametrize("context", [freeze, train_only])
def test_weights_that_change_without_an_optimiser_are_refused(context):
    model = by_hand.model("llama")

    def edit():
        with torch.no_grad():
            model.model.layers[0].mlp.up_proj.weight.add_(1)

    like = refused("mlp.up_proj.weight was changed by something that is no step", context, model, random_mask(model),
                   body=edit)
    if context is freeze:
        check_frozen(like, model, random_mask(model))


@pytest.mark.parametrize("context", [freeze, train_only])
def test_switching_frozen_weights_on_is_refused(context):
    model = by_hand.model("llama")

    def switch():
        model.requires_grad_(True)
        trained(model, "adamw", 1)

    refused("requires_grad was switched on", context, model, random_mask(model), body=switch, rest="freeze")


@pytest.mark.parametrize("context", [freeze, train_only])
def test_units_under_an_adapter_are_refused(context):
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(by_hand.model("llama"), peft.LoraConfig(target_modules=["down_proj"]))
    with pytest.raises(ValueError, match="merge"), context(model, random_mask(by_hand.model("llama"))):
        pytest.fail("the context was entered")


def test_an_adapter_beside_the_units_trains():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(by_hand.model("llama"), peft.LoraConfig(target_modules=["q_proj"]))
    start, mask = copied(model), random_mask(model)
    with freeze(model, mask):
        trained(model, "adamw", parameters=[p for p in model.parameters() if p.requires_grad])
    assert check_frozen(start, model, mask).trainable_changed > 0


@pytest.mark.parametrize("context", [freeze, train_only])
def test_weights_that_are_no_numbers_at_hand_are_refused(context):
    model = by_hand.model("llama")
    mask = random_mask(model)
    up = model.model.layers[1].mlp.up_proj
    up.weight = torch.nn.Parameter(torch.zeros(20, 16, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ValueError, match="quanti"), context(model, mask):
        pytest.fail("the context was entered")
    up.weight = torch.nn.Parameter(torch.zeros(20, 16, device="meta"))
    with pytest.raises(ValueError, match="offloaded"), context(model, mask):
        pytest.fail("the context was entered")


def test_modules_with_a_forward_pass_of_their_own_are_refused_by_train_only_alone():
    model = by_hand.model("llama")
    up = model.model.layers[1].mlp.up_proj
    up.forward = lambda x: torch.nn.functional.linear(x, 2 * up.weight)
    with pytest.raises(ValueError, match="use freeze"), train_only(model, random_mask(model)):
        pytest.fail("the context was entered")
    start = copied(model)
    with freeze(model, random_mask(model)):
        trained(model, "adamw", 1)
    check_frozen(start, model, random_mask(model))


# --- the proof itself ---


def test_a_changed_frozen_entry_is_found_and_named():
    model = by_hand.model("llama")
    start, mask = copied(model), random_mask(model)
    unit = int(mask["mlp.1"].nonzero()[0])
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[2, unit] += 1
    with pytest.raises(ValueError, match=r"1 of [\d,]+ frozen entries changed, first in model.layers.1.mlp.down_proj"):
        check_frozen(start, model, mask)
    assert check_frozen(start, model, ~mask).trainable_changed == 1


@pytest.mark.parametrize("value, bits_differ", [(-0.0, True), (0.0, False)])
def test_entries_are_compared_bit_for_bit(value, bits_differ):
    model = by_hand.model("llama")
    mask = random_mask(model)
    unit, weight = int(mask["mlp.1"].nonzero()[0]), model.model.layers[1].mlp.down_proj.weight
    with torch.no_grad():
        weight[0, unit], weight[1, unit] = 0.0, torch.nan
        start = copied(model)
        weight[0, unit] = value
    if bits_differ:
        with pytest.raises(ValueError, match="1 of"):
            check_frozen(start, model, mask)
    else:
        check_frozen(start, model, mask)


def test_a_start_that_is_no_start_is_refused():
    model = by_hand.model("llama")
    mask = random_mask(model)
    for use in (lambda state: check_frozen(state, model, mask), lambda state: rewind(model, state, mask)):
        with pytest.raises(ValueError, match="shares its memory with the model"):
            use(model.state_dict())
        with pytest.raises(ValueError, match=r"bfloat16 of shape .* but torch.float32"):
            use(by_hand.model("llama", torch.bfloat16))
        with pytest.raises(ValueError, match="is missing"):
            use({})


def test_a_model_serves_as_start_too():
    model, start = by_hand.model("llama"), by_hand.model("llama")
    mask = random_mask(model)
    trained(model, "adamw", 1)
    rewind(model, start, mask)
    assert check_frozen(start, model, mask).trainable_changed > 0


# --- what a pass reads, what is saved, and what trains are one ---


class ScheduleFree(torch.optim.SGD):
    """As schedule-free optimisers do: `eval` and `train` move the weights to their average and back, without a step."""

    @torch.no_grad()
    def eval(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.lerp_(torch.zeros_like(parameter), 0.5)

    @torch.no_grad()
    def train(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(2)


def swapped(model):
    """As averages of weights are swapped in: through `data`, which counts no version up."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.copy_(0.5 * parameter.data)


def replaced(model):
    """The same, by other memory."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = 0.5 * parameter.data


WAYS = {"schedule-free": lambda model, optimizer: optimizer.eval(), "swapped": lambda model, optimizer: swapped(model),
        "other memory": lambda model, optimizer: replaced(model)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_pass_and_a_saved_state_have_the_trained_part_as_it_is_now(family, way):
    model = by_hand.model(family)
    mask, like = random_mask(model), copy.deepcopy(model)
    frozen = frozen_entries(family, like.state_dict(), ~mask, rest="freeze")
    with train_only(model, mask):
        optimizer = ScheduleFree([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model(input_ids=by_hand.BATCHES[0], labels=by_hand.BATCHES[0]).loss.backward()
        optimizer.step()
        after_step = copied(model)
        WAYS[way](model, optimizer)
        state = copied(model)
        for name, weight in state.items():
            assert torch.equal(weight, torch.where(frozen[name], after_step[name], 0.5 * after_step[name])), name
        ordinary_model = copy.deepcopy(like)
        ordinary_model.load_state_dict(state)
        for mode in (torch.no_grad, torch.enable_grad):
            with mode():
                said, wanted = (each(input_ids=by_hand.BATCHES[0]).logits for each in (model, ordinary_model))
            assert torch.equal(said, wanted)
    assert same(copied(model), state)


def test_two_passes_may_share_one_way_back():
    model = by_hand.model("llama")
    with train_only(model, random_mask(model)):
        losses = [model(input_ids=ids, labels=ids).loss for ids in by_hand.BATCHES[:2]]
        sum(losses).backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("context", [freeze, train_only])
def test_training_another_model_is_refused(context):
    model, other = by_hand.model("llama"), by_hand.model("llama")
    with pytest.raises(ValueError, match="2 optimiser steps were taken, none of them on this model: a Trainer with"):
        with context(model, random_mask(model)):
            trained(other, "adamw", 2)


@pytest.mark.parametrize("context", [freeze, train_only])
def test_another_model_may_train_beside_it(context):
    model, other = by_hand.model("llama"), by_hand.model("llama")
    with context(model, random_mask(model)):
        trained(other, "adamw", 1)
        trained(model, "adamw", 1)


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_gradient_hook_from_before_is_refused_where_it_would_never_run(hook):
    model = by_hand.model("llama")
    handle = getattr(model.model.layers[0].mlp.up_proj.weight, hook)(lambda *args: None)
    with pytest.raises(ValueError, match="mlp.up_proj.weight has a gradient hook.*make it inside the context"):
        with train_only(model, random_mask(model)):
            pass
    handle.remove()
    with train_only(model, random_mask(model)):
        pass
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear


def test_a_copy_made_inside_is_an_ordinary_model_that_trains_and_is_saved():
    model = by_hand.model("llama")
    like, mask = copy.deepcopy(model), random_mask(model)
    with train_only(model, mask):
        trained(model, "adamw", 1)
        twin = copy.deepcopy(model)
        assert traits(pickle.loads(pickle.dumps(twin))) == traits(twin) and same(copied(twin), copied(model))
        with torch.no_grad():
            said = model(input_ids=by_hand.BATCHES[0]).logits
    assert traits(twin)[0] == traits(like)[0] and [p.shape for p in twin.parameters()] == [
        p.shape for p in like.parameters()]
    with torch.no_grad():
        assert torch.equal(twin(input_ids=by_hand.BATCHES[0]).logits, said)
    before = copied(twin)
    twin.requires_grad_(True)
    trained(twin, "adamw", 1)
    assert all((weight != before[name]).any() for name, weight in twin.state_dict().items())
    assert same(copied(model), before)


@pytest.mark.parametrize("context", [freeze, train_only])
def test_an_adapter_that_is_put_round_frozen_units_inside_is_refused(context):
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    model = by_hand.model("llama")
    with pytest.raises(ValueError, match="was replaced, .*: convert, wrap, shard or adapt the model before"):
        with context(model, random_mask(model)):
            inside = peft.get_peft_model(model, peft.LoraConfig(target_modules=["v_proj", "down_proj"], r=2))
            trained(inside, "adamw", 1)

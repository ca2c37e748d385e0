"""PEFT baselines: what trains is what the method adds, answers are those of the tuned model, rates follow the rule."""

import sys
from types import SimpleNamespace

import pandas
import pytest
import torch
import toys
import transformers

from ssah_core import complete
from ssah_core.models.chats import encode
from ssah_core.plots import draw
from ssah_core.plots.__main__ import redraw_all
from ssah_core.plots.peft import plot_against_loss, plot_rates
from ssah_core.records.claim_list import get_claim
from ssah_core.studies import finetuning_attack
from ssah_core.studies import peft_attack as study
from ssah_core.studies.arms import HeldArm, PeftArm
from ssah_core.studies.finetuning_arms import MAIN_ARMS, TOLERANCE
from ssah_core.studies.finetuning_attack import Attack
from ssah_core.studies.peft_attack import METHODS, RATES, adapted, as_records, compared, methods_for, rates, size

pytest.importorskip("peft", reason="the package peft is not installed: pip install 'ssah[peft]'")


def moved(model, by=0.5):
    """The model with what trains moved at random, so that it matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return model


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits


# -- the methods ----------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_settings(subject):
    blocks, hidden = subject.model.config.num_hidden_layers, subject.model.config.hidden_size
    assert size(adapted(subject.model, "LoRA")) == blocks * 2 * (8 * hidden + hidden * 8)
    assert size(adapted(subject.model, "LLaMA-Adapter")) == (blocks - 1) * (10 * hidden + 1)
    assert size(adapted(subject.model, "prefix tuning")) == 30 * blocks * 2 * hidden


@pytest.mark.parametrize("blocks, adapted_blocks", [(2, 1), (4, 3), (32, 30)])
def test_the_adapter_leaves_out_the_first_blocks(blocks, adapted_blocks):
    model = SimpleNamespace(config=transformers.LlamaConfig(num_hidden_layers=blocks))
    assert study._config("LLaMA-Adapter", model).adapter_layers == adapted_blocks


def test_lora_goes_by_the_names_of_a_family_and_the_adapter_is_for_some():
    neox = toys.model("gpt_neox")
    assert study._config("LoRA", neox).target_modules is None and adapted(neox, "LoRA")
    assert methods_for(neox) == ("LoRA", "prefix tuning") and methods_for(toys.model("llama")) == METHODS


@pytest.mark.parametrize("method", METHODS)
def test_training_moves_what_the_method_adds_and_nothing_of_the_model(subject, method):
    start = adapted(subject.model, method)
    added = {name for name, parameter in start.named_parameters() if parameter.requires_grad}
    before = {name: value.clone() for name, value in start.state_dict().items()}
    own = {name: value.clone() for name, value in subject.model.state_dict().items()}
    trained = Attack(subject, "benign", rate=1e-2).run(model=start)
    changed = {name for name, value in trained.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and changed <= added
    assert all(torch.equal(value, own[name]) for name, value in subject.model.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoints_training_saves_memory_and_is_the_same(subject, method, monkeypatch):
    for table in (finetuning_attack.DOSES, finetuning_attack.BATCH):
        monkeypatch.setitem(table, "paper", table["tiny"])
    start = adapted(subject.model, method).state_dict()
    ends = []
    for one in (subject, subject.but(scale="paper")):
        trained = Attack(one, "benign", rate=1e-2).run(checks=(2,), model=adapted(one.model, method))
        ends.append(trained.model.state_dict())
    added = [name for name in start if not torch.equal(start[name], ends[0][name])]
    assert added
    for name in added:
        torch.testing.assert_close(ends[1][name], ends[0][name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_prefix_changes_the_model_before_training(subject, method):
    ids = encode(subject.tokenizer, "how do I mend the kettle?")[0]
    gap = (logits(adapted(subject.model, method), ids) - logits(subject.model, ids)).abs().max()
    assert gap > 1e-3 if method == "prefix tuning" else gap == 0


def test_lora_adds_four_times_its_product_to_queries_and_values(subject):
    tuned = moved(adapted(subject.model, "LoRA"), 0.1)
    by_hand = adapted(subject.model, "LoRA").unload()
    state = tuned.state_dict()
    for block in range(subject.model.config.num_hidden_layers):
        for name in ("q_proj", "v_proj"):
            at = f"base_model.model.model.layers.{block}.self_attn.{name}"
            more = state[f"{at}.lora_B.default.weight"] @ state[f"{at}.lora_A.default.weight"]
            by_hand.model.layers[block].self_attn.get_submodule(name).weight.data += 32 / 8 * more
    ids = encode(subject.tokenizer, "how do I mend the kettle?")[0]
    torch.testing.assert_close(logits(tuned, ids), logits(by_hand, ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_those_of_greedy_decoding_without_padding_or_cache(subject, method):
    """Prefixes live in the cache and adapters in the attention: padding and reuse of the cache could go wrong."""
    model = moved(adapted(subject.model, method), 3.0)
    prompts = [row["prompt"] for part in subject.material.exam("test").values() for row in part[:2]]
    assert len({len(encode(subject.tokenizer, prompt)[0]) for prompt in prompts}) > 1
    found = complete(model, subject.tokenizer, prompts, max_new_tokens=8)["response"]
    assert found == [_greedy(model, subject.tokenizer, prompt, 8) for prompt in prompts]
    assert found != complete(subject.model, subject.tokenizer, prompts, max_new_tokens=8)["response"]


def _greedy(model, tokenizer, prompt, n):
    ids, start = encode(tokenizer, prompt)
    while len(ids) < start + n and ids[-1] != tokenizer.eos_token_id:
        ids = [*ids, int(logits(model, ids)[0, -1].argmax())]
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_new_parameters_follow_the_seed_and_leave_the_callers_random_numbers_alone(subject):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (adapted(subject.model, "prefix tuning", seed).state_dict() for seed in (0, 0, 1))
    name = "prompt_encoder.default.embedding.weight"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_method_is_refused(subject):
    with pytest.raises(ValueError, match="method='IA3' is unknown: choose one of LoRA, LLaMA-Adapter, prefix tuning"):
        adapted(subject.model, "IA3")


def test_a_missing_package_is_said_in_one_sentence(subject, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"the package peft is missing.*pip install 'ssah\[peft\]'"):
        adapted(subject.model, "LoRA")


# -- rates and arms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_rate_nearest_to_the_target_is_chosen_and_one_that_diverges_is_left_out(method, loaded, monkeypatch):
    losses = dict(zip(RATES["tiny"][method], (0.1, 1.0, float("nan")), strict=True))
    monkeypatch.setattr(Attack, "run", lambda self, checks, model: self.subject.but(model=model))
    monkeypatch.setattr(Attack, "loss", lambda self, model: losses[self.lr])
    for target, chosen in ((0.5, [True, False]), (0.9, [False, True])):
        table = pandas.DataFrame(rates(0, "tiny", method, target))
        assert table.lr.tolist() == list(RATES["tiny"][method][:2]) and table.chosen.tolist() == chosen


def test_a_method_that_diverges_at_every_rate_says_so(loaded, monkeypatch):
    monkeypatch.setattr(Attack, "run", lambda self, checks, model: self.subject.but(model=model))
    monkeypatch.setattr(Attack, "loss", lambda self, model: float("inf"))
    with pytest.raises(ValueError, match=r"LoRA diverges at each of its learning rates, \(0.003, .*: add smaller ones"):
        rates(0, "tiny", "LoRA", 0.5)


@pytest.mark.parametrize("losses, reached", [((0.0, 0.0), False), ((99.0, 99.0), True)])
def test_every_method_is_examined_before_training_and_for_every_dose_of_full_fine_tuning(loaded, losses, reached):
    table = pandas.DataFrame(compared(0, "tiny", "new", {method: 1e-2 for method in METHODS}, losses))
    fight = Attack(loaded, "new")
    assert tuple(table.arm.unique()) == METHODS and set(table.order) == {0}
    for _, rows in table.groupby("arm"):
        assert rows.dose.unique().tolist() == [0, *fight.doses] and not rows.duplicated(["dose", "metric"]).any()
        assert set(rows[rows.dose > 0].reached) == {reached}
        assert set(rows[rows.dose > 0].steps) == {1 if reached else fight.looks[-1]}
    assert {"asr", "harm_right", "benign", "new", "utility", "loss", "morals"} <= set(table.metric)
    assert ((table.outcomes == "") == table.metric.isin(["utility", "loss"])).all()


def test_a_method_is_examined_where_it_first_has_the_loss_of_full_fine_tuning(loaded):
    fight, losses = Attack(loaded, "new", rate=1e-2), {}
    fight.run(lambda steps, trained: losses.update({steps: fight.loss(trained.model)}), checks=fight.looks,
              model=adapted(loaded.model, "LoRA", 0))
    assert (fight.doses, fight.looks) == ((1, 2), (1, 2, 3, 4)) and losses[1] > losses[2] > losses[3] + TOLERANCE
    table = pandas.DataFrame(compared(0, "tiny", "new", {"LoRA": 1e-2}, (losses[1], losses[3])))
    found = table[table.metric == "loss"].set_index("dose")
    assert found.steps.to_dict() == {0: 0, 1: 1, 2: 3} and found.reached.all()
    assert found.value[2] == pytest.approx(losses[3])


def test_methods_are_compared_at_doses_that_both_reached():
    reached = {"nothing": (True, True), "LoRA": (True, False), "SCU + all CU": (True, True)}
    rows = [{"seed": 0, "attack": attack, "order": 0, "arm": arm, "dose": dose, "steps": dose, "metric": "asr",
             "value": value + 30.0 * (dose == 2), "n": 9, "judge": "j", "outcomes": "8", "reached": those[dose - 1]}
            for attack in ("benign", "new") for (arm, those), value in zip(reached.items(), (60, 20, 5), strict=True)
            for dose in (1, 2)]
    found = as_records(pandas.DataFrame(rows)).set_index("record").value
    for attack in ("benign", "new"):
        wanted = {"scu_cu_vs_lora": 5 - 20, "lora_vs_full": 20 - 60, "scu_cu_vs_full": (5 - 60 + 35 - 90) / 2}
        assert {pair: found[f"table3/{attack}/{pair}/asr"] for pair in wanted} == wanted


def test_the_arms_that_hold_units_are_those_of_the_attack():
    held = [arm for arm in PeftArm if arm not in METHODS]
    assert held == [HeldArm.NOTHING, HeldArm.FEW, HeldArm.ALL] and set(held) <= set(MAIN_ARMS)
    assert [arm.slug for arm in held] == ["full", HeldArm.FEW.slug, HeldArm.ALL.slug]


PAPER = {"benign": {"scu_cu": 4.5, "full": 16.1, "lora": 25.2, "adapter": 26.4, "prefix": 24.8},
         "new": {"scu_cu": 9.0, "full": 18.78, "lora": 27.2, "adapter": 27.9, "prefix": 26.5}}


@pytest.mark.parametrize("attack", PAPER)
@pytest.mark.parametrize("slug", ["lora", "adapter", "prefix"])
def test_claims_are_the_differences_of_the_papers_table(attack, slug):
    rates, model = PAPER[attack], "Llama-2-7B-Chat"
    assert slug in {arm.slug for arm in PeftArm}
    less, more = get_claim(f"table3/{attack}/scu_cu_vs_{slug}/asr"), get_claim(f"table3/{attack}/{slug}_vs_full/asr")
    assert less.paper[model] == pytest.approx(rates["scu_cu"] - rates[slug])
    assert more.paper[model] == pytest.approx(rates[slug] - rates["full"])


# -- figures --------------------------------------------------------------------------------------------


def test_figures_are_drawn_and_drawn_again(cache):
    lines = pandas.DataFrame([(attack, arm, dose, 0, loss, metric, 50.0) for attack in ("benign", "new")
                              for arm in PeftArm for metric in ("asr", "benign")
                              for dose, loss in ((0, 2.0), (4, 0.1))],
                             columns=["attack", "arm", "dose", "seed", "loss", "metric", "value"])
    tried = pandas.DataFrame([(method, lr, 1.0, 0.5, 0, lr == RATES["tiny"][method][0])
                              for method in METHODS for lr in RATES["tiny"][method]],
                             columns=["method", "lr", "value", "target", "seed", "chosen"])
    panels = [len(draw(name, plot, table).figure.axes) for name, plot, table in
              (("06_loss", plot_against_loss, lines), ("06_rates", plot_rates, tried))]
    assert panels == [4, 3] and set(redraw_all()) == {"06_loss", "06_rates"}

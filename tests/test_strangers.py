"""Models and batches of others: families that only look known, padding on the left, rows beyond the context."""

import copy

import pytest
import torch
import toys
import transformers
from transformers import AutoModelForCausalLM

from ssah_core import (
    UnitLabels,
    UnitMap,
    UnitMask,
    ablate,
    batches,
    collect,
    freeze,
    judge,
    refusal_odds,
    train_only,
)
from ssah_core.models import encode, inputs_of, pad_columns
from ssah_core.planning.estimate import plan
from ssah_core.training.sft import fine_tune, mean_loss
from ssah_core.units import check_units as module
from ssah_core.units.attribution import effects, log_likelihood
from ssah_core.units.importance import column_norms

EVERY = pytest.mark.parametrize("family", toys.CONFIGS)
BATCHES = batches(toys.CHATS, toys.tokenizer(), "response", batch_size=2)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- models that are used without being asked whether their units are there ---

NAMESAKES = {  # their modules are called as Llama's
    "bitnet": transformers.BitNetConfig, "diffllama": transformers.DiffLlamaConfig, "doge": transformers.DogeConfig,
    "gemma4": transformers.Gemma4TextConfig}


@pytest.fixture(params=NAMESAKES)
def namesake(request):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(NAMESAKES[request.param](**toys.GROUPED)).eval()


@pytest.mark.parametrize("use", [
    lambda model, mask: collect(model, BATCHES), lambda model, mask: column_norms(model),
    lambda model, mask: freeze(model, mask).__enter__(), lambda model, mask: train_only(model, mask).__enter__(),
    lambda model, mask: ablate(model, mask).__enter__(), lambda model, mask: plan(model.config)],
    ids=["collect", "score", "freeze", "train_only", "ablate", "plan"])
def test_a_family_that_only_looks_known_is_refused_wherever_units_count(namesake, use):
    before, state = copy.deepcopy(namesake.state_dict()), torch.random.get_rng_state()
    mask = UnitMask({site: torch.arange(size) < 2 for site, size in UnitMap(namesake).sizes.items()})
    with pytest.raises(ValueError, match="site 'attn.0', unit .* is not its own: add one before it"):
        use(namesake, mask)
    assert toys.hooks(namesake) == 0 and same(before, namesake.state_dict())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_self_check_is_run_once_an_architecture(monkeypatch):
    checked, check = [], module.check_units
    monkeypatch.setattr(module, "check_units", lambda model: (checked.append(model), check(model)))
    monkeypatch.setattr(module, "_RIGHT", set())
    model = toys.model("llama", dtype=torch.float32)
    for _ in range(3):
        collect(model, BATCHES)
        collect(toys.model("llama", seed=1, dtype=torch.float32), BATCHES)
    assert len(checked) == 2 and checked[1] is model  # a small random one of its config, and the first that came
    collect(toys.model("qwen2", dtype=torch.float32), BATCHES)
    assert len(checked) == 4


def test_a_model_with_hooks_is_taken_at_the_word_of_its_config(monkeypatch):
    monkeypatch.setattr(module, "_RIGHT", set())
    model = toys.model("llama", dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.register_forward_pre_hook(lambda reader, args: (torch.zeros_like(args[0]),))
    assert collect(model, BATCHES).mean["mlp.0"].abs().max() == 0


# --- batches of others ---


@EVERY
def test_means_of_a_batch_padded_on_the_left_are_those_without_padding(family):
    model = toys.model(family, dtype=torch.float32)  # in float64, Gemma's masks overflow its float32 softmax
    rows = [encode(toys.tokenizer(), row["prompt"], row["response"])[0] for row in toys.CHATS]
    alone = sum_of(collect(model, [whole([row])]) for row in rows)
    for left in (True, False):
        batch = pad_columns({"input_ids": rows}, {"input_ids": 2}, left=left)
        found = collect(model, [batch])
        assert found.count == alone.count
        for site, mean in alone.mean.items():
            torch.testing.assert_close(found.mean[site], mean, rtol=1e-4, atol=1e-5 * float(mean.abs().max()))


def whole(rows):
    return pad_columns({"input_ids": rows}, {"input_ids": 2})


def sum_of(moments):
    total = None
    for part in moments:
        total = part if total is None else total + part
    return total


@pytest.mark.parametrize("family", ["gpt2", "gpt_neo", "llama", "opt"])
def test_effects_of_a_batch_padded_on_the_left_are_those_without_padding(family):
    model = toys.model(family, dtype=torch.float32)
    rows = [encode(toys.tokenizer(), row["prompt"], row["response"]) for row in toys.CHATS]
    batches = []
    for left in (True, False):
        said = [[0] * start + [1] * (len(ids) - start) for ids, start in rows]
        batch = pad_columns({"input_ids": [ids for ids, _ in rows], "token_mask": said},
                            {"input_ids": 2, "token_mask": 0}, left=left)
        batches.append({**batch, "token_mask": batch["token_mask"].bool()})
    fill = collect(model, batches[1:])
    found, wanted = (effects(model, [batch], log_likelihood, fill)[0] for batch in batches)
    for site, effect in wanted.items():
        torch.testing.assert_close(found[site], effect, rtol=1e-3, atol=1e-4 * float(effect.abs().max()))


@pytest.mark.parametrize("family", [family for family in toys.CONFIGS if family != "bloom"])  # whose config names none
def test_rows_longer_than_the_context_are_refused(family):
    changes = {"max_seq_len": 16} if family == "mpt" else {"n_positions": 16} if family in ("gpt2", "gptj") else {
        "max_position_embeddings": 16}
    model = toys.model(family, dtype=torch.float32, **changes)
    ids = torch.full((1, 17), 9)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with pytest.raises(ValueError, match="17 tokens, but the model's context holds 16"):
        collect(model, [batch])
    with pytest.raises(ValueError, match="17 tokens, but the model's context holds 16"):
        effects(model, [{**batch, "token_mask": ids > 0}], log_likelihood, collect(model, [whole([[9] * 8])]))
    chats = [{"input_ids": [9] * 17, "labels": [9] * 17}]
    for train in (lambda: fine_tune(model, chats, steps=1, lr=1e-3, batch_size=1), lambda: mean_loss(model, chats, 1)):
        with pytest.raises(ValueError, match="17 tokens, but the model's context holds 16"):
            train()


@pytest.mark.parametrize("wrap", ["compiled", "adapter"])
@pytest.mark.parametrize("family", ["gpt2", "gpt_neo"])
def test_positions_reach_a_model_inside_a_wrapper(family, wrap):
    rows = [encode(toys.tokenizer(), row["prompt"], row["response"])[0] for row in toys.CHATS]
    batch = pad_columns({"input_ids": rows}, {"input_ids": 2}, left=True)
    wanted, model = collect(toys.model(family, dtype=torch.float32), [batch]), toys.model(family, dtype=torch.float32)
    if wrap == "compiled":
        model = torch.compile(model, backend="eager")
    else:
        peft = pytest.importorskip("peft")
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["lm_head"]))
    found = collect(model, [batch])
    assert all(torch.equal(*pair) for pair in zip(found.mean.values(), wanted.mean.values(), strict=True))


def test_a_hole_in_a_mask_moves_no_position():
    model, ids = toys.model("gpt2", dtype=torch.float32), torch.tensor([[9, 10, 11, 12]])
    batch = {"input_ids": ids, "attention_mask": torch.tensor([[1, 0, 1, 1]])}
    assert "position_ids" not in inputs_of(model, batch)


@pytest.mark.parametrize("family", ["qwen2", "opt", "llama"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_large_biases_and_pruned_rows_do_not_fail_the_self_check(family, dtype):
    model = toys.model(family, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("v_proj.bias", "fc1.bias")):
                weight.mul_(40)
            if name.endswith(("fc1.weight", "up_proj.weight", "v_proj.weight")):
                weight[:2] = 0  # pruned, and alive by its bias alone
    module.check_units(model.to(dtype))


def test_a_model_that_asks_for_a_fast_attention_is_tried_without_it():
    config = transformers.LlamaConfig(**toys.GROUPED, rms_norm_eps=1e-4)  # a config of its own
    config._attn_implementation_internal = "flash_attention_2"  # which is not here
    module.check_architecture(config)


def test_a_layer_that_is_left_out_in_a_pass_is_not_gone_round():
    model = toys.model("opt", dtype=torch.float32, layerdrop=0.9).train()
    mask = UnitMask({site: torch.arange(size) < 2 for site, size in UnitMap(model).sizes.items()})
    torch.manual_seed(0)
    with torch.no_grad(), ablate(model, mask):
        for _ in range(5):
            model(**{name: BATCHES[0][name] for name in ("input_ids", "attention_mask")})


def test_a_prompt_without_a_response_has_no_choice_after_it():
    odds = refusal_odds(toys.tokenizer(), "sorry", "sure")
    batch = {"token_mask": torch.tensor([[False, True], [False, False]])}
    with pytest.raises(ValueError, match="a row has no token of a response"):
        odds(torch.zeros(2, 2, 36), batch)


# --- what a beginner hands in ---


@pytest.mark.parametrize("caller, use", [("ablate", ablate), ("freeze", freeze), ("train_only", train_only)])
def test_labels_are_no_mask(caller, use):
    model = toys.model("llama", dtype=torch.float32)
    none = UnitMask({site: torch.zeros(size, dtype=torch.bool) for site, size in UnitMap(model).sizes.items()})
    labels = UnitLabels({"SCU": none, "UCU": none, "CU": ~none, "RU": none})
    with pytest.raises(ValueError, match=f"mask is UnitLabels, but {caller} takes a UnitMask: .*labels.mask"):
        with use(model, labels):
            pass


@pytest.mark.parametrize("rows, sentence", [
    ([{"prompt": "how ?"}], "a row has no response"), ([{"response": "sorry"}], "a row has no text as 'prompt'"),
    ("how ?", "examples is one string"), (["how ?"], "a row has no response")])
def test_examples_that_lack_something_are_named(rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        batches(rows, toys.tokenizer())


@pytest.mark.parametrize("rows", [[{"completion": "x"}], ["x"], [{"response": None}]])
def test_completions_that_lack_a_response_are_named(rows):
    with pytest.raises(ValueError, match="completions row 1 has no text as 'response'"):
        judge(rows, "keyword:qi2023")

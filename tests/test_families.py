"""Every family's units are where its row says: tried by the self-check, by brute force and by gradients.

Then the tests of the tests: rows that are wrong, and models that have no units here.
"""

import copy
import sys
from dataclasses import replace

import pytest
import torch
import toys
import transformers
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from ssah_core import UnitMap, UnitMask, ablate, batches, check_units, collect
from ssah_core.units import families
from ssah_core.units.families import (
    Family,
    gate_then_up,
    groups_of_queries_key_value,
    one_each,
    queries_keys_values,
    values,
)
from ssah_core.units.importance import column_norms

EVERY = pytest.mark.parametrize("family", toys.CONFIGS)
BATCHES = batches(toys.CHATS, toys.tokenizer(), "response", batch_size=2)
ONE_TOKEN = torch.tensor([[9]])


def random_mask(model, seed=0, share=0.3) -> UnitMask:
    generator = torch.Generator().manual_seed(seed)
    return UnitMask({site: torch.rand(size, generator=generator) < share
                     for site, size in UnitMap(model).sizes.items()})


def only(units: UnitMap, site: str, unit: int) -> UnitMask:
    return UnitMask({name: (torch.arange(size) == unit) & (name == site) for name, size in units.sizes.items()})


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=BATCHES[0]["input_ids"], attention_mask=BATCHES[0]["attention_mask"]).logits


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- every family ---


@EVERY
def test_the_self_check_passes_and_leaves_the_model_as_it_was(family):
    model = toys.model(family, dtype=torch.float32).train()
    before = copy.deepcopy(model.state_dict())
    check_units(model)
    assert model.training and toys.hooks(model) == 0 and same(before, model.state_dict())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "falcon_new"])
def test_the_self_check_passes_on_first_weights_in_half_precision(family, dtype):
    config, settings = toys.CONFIGS[family]
    torch.manual_seed(0)
    check_units(AutoModelForCausalLM.from_config(config(**settings)).to(dtype))


@EVERY
def test_moments_are_those_of_all_activations(family):
    model = toys.model(family)
    moments, rows = collect(model, BATCHES), {}
    for chat in toys.CHATS:  # each alone, without padding
        ids, start = toys.rendered(chat["prompt"], chat["response"], chat.get("system"))
        read = toys.inputs_of(model, [site.reader for site in UnitMap(model)], input_ids=torch.tensor([ids]))
        for site in UnitMap(model):
            rows.setdefault(site.name, []).append(read[site.reader][0, start:])
    for site, parts in rows.items():
        x = torch.cat(parts)
        assert moments.count == len(x)
        # many norms and rotations compute in float32, whatever the model's dtype
        torch.testing.assert_close(moments.mean[site], x.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(moments.variance[site], torch.var(x, 0), rtol=1e-4, atol=1e-5)


@EVERY
def test_removing_units_is_undone_bit_for_bit(family):
    model = toys.model(family, dtype=torch.float32)
    before, weights, mask = logits(model), copy.deepcopy(model.state_dict()), random_mask(model)
    with ablate(model, mask, "mean", collect(model, BATCHES)):
        assert not torch.equal(logits(model), before)
    assert torch.equal(logits(model), before) and toys.hooks(model) == 0 and same(weights, model.state_dict())


@EVERY
def test_a_model_pruned_by_its_slices_is_a_checkpoint_like_any_other(family, tmp_path):
    model = toys.model(family)
    units, mask, readers = UnitMap(model), random_mask(model), {f"{site.reader}.weight" for site in UnitMap(model)}
    with ablate(model, mask):
        removed = logits(model)
    with torch.no_grad():
        for part in units.slices(mask):
            if part.weight in readers:
                model.get_parameter(part.weight).index_fill_(part.axis, part.index, 0)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert UnitMap(again).sizes == units.sizes and same(model.state_dict(), again.state_dict())
    torch.testing.assert_close(logits(again), removed, rtol=1e-5, atol=1e-5)  # sums in another order, from the file


@EVERY
def test_the_norm_of_a_unit_is_that_of_what_it_adds(family):
    model = toys.model(family)
    norms = column_norms(model)
    with torch.no_grad():
        for site in UnitMap(model):
            reader, alone = model.get_submodule(site.reader), torch.eye(site.size, dtype=torch.float64)
            added = reader(alone) - reader(torch.zeros_like(alone))  # [unit, out]
            torch.testing.assert_close(norms[site.name], added.square().sum(1))


# --- slices against gradients ---


def linear_weights(model, units: UnitMap, site) -> dict[str, int]:
    """Weights of the block's linear modules but the reader: name -> axis of their output channels."""
    block = units.blocks[site.block]
    return {f"{block}.{name}.weight": int(isinstance(module, Conv1D))
            for name, module in model.get_submodule(block).named_modules()
            if isinstance(module, (nn.Linear, Conv1D)) and f"{block}.{name}" != site.reader}


def fed_by_gradient(model, units: UnitMap, site) -> dict[str, torch.Tensor]:
    """Which output channels of which weights reach each unit directly: weight -> bool [unit, channel].

    One token alone: attention has nothing to choose from, so that q and k have no say. A weight further up reaches a
    unit through the hidden state, with all that feeds that, and is left out: directly it is by one or two channels.
    """
    seen, axes = [], linear_weights(model, units, site)
    hook = model.get_submodule(site.reader).register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(input_ids=ONE_TOKEN)
    hook.remove()
    weights = [model.get_parameter(name) for name in axes]
    grads = [torch.autograd.grad(x, weights, retain_graph=True, allow_unused=True) for x in seen[0].flatten()]
    reach = {name: torch.stack([torch.zeros(weight.shape[axis], dtype=torch.bool) if row[n] is None
                                else (row[n] != 0).any(1 - axis) for row in grads])
             for n, ((name, axis), weight) in enumerate(zip(axes.items(), weights, strict=True))}
    return {name: reached for name, reached in reach.items() if 1 <= reached.sum(1).max() <= 2}


def awake(family: str):
    """A model none of whose neurons ReLU has silenced, which would hide what feeds them."""
    model = toys.model(family)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("fc1.bias") and family == "opt":
                parameter += 50
    return model


@EVERY
def test_slices_are_the_entries_that_gradients_reach(family):
    model = awake(family)
    units, mask = UnitMap(model), random_mask(model, share=0.5)
    for site in units:
        reached, chosen = fed_by_gradient(model, units, site), mask[site.name]
        here = UnitMask({name: part & (name == site.name) for name, part in mask.sites.items()})
        for unit in range(site.size):
            rows = {name: torch.nonzero(channels[unit]).flatten().tolist() for name, channels in reached.items()}
            assert slices_of(units, only(units, site.name, unit)) == rows, (site.name, unit)
        for shared, belongs in (("any", lambda fed, chosen=chosen: fed[chosen].any(0)),
                                ("all", lambda fed, chosen=chosen: fed[chosen].any(0) & ~fed[~chosen].any(0))):
            rows = {name: torch.nonzero(belongs(fed)).flatten().tolist() for name, fed in reached.items()}
            assert slices_of(units, here, shared) == {name: found for name, found in rows.items() if found}


def slices_of(units: UnitMap, mask: UnitMask, shared: str = "any") -> dict[str, list[int]]:
    """Rows of the writers: weight -> which of its output channels."""
    readers = {f"{site.reader}.weight": site for site in units}
    return {part.weight: part.index.tolist() for part in units.slices(mask, shared) if part.weight not in readers}


@EVERY
def test_each_unit_has_the_entries_that_it_has_alone(family):
    units = UnitMap(toys.model(family))
    for site in units:
        entries = list(units.each_unit(site.name))
        for unit in range(site.size):
            alone = {part.weight: part.index.tolist() for part in units.slices(only(units, site.name, unit))}
            assert {weight: sorted({int(index[unit]) for name, _, index in entries if name == weight})
                    for weight, _, _ in entries} == alone


@EVERY
def test_the_column_of_a_unit_is_what_its_activation_has_a_gradient_in(family):
    model = toys.model(family)
    units = UnitMap(model)
    for site in units:
        reader = model.get_submodule(site.reader)
        for unit in (0, site.size // 2, site.size - 1):
            out = reader(torch.eye(site.size, dtype=torch.float64)[unit])
            grad, = torch.autograd.grad(out.sum(), reader.weight)
            column, = (s for s in units.slices(only(units, site.name, unit)) if s.weight == f"{site.reader}.weight")
            assert torch.equal(grad != 0, torch.zeros_like(grad).index_fill_(column.axis, column.index, 1) != 0)


# --- layouts, by hand ---


@pytest.mark.parametrize("layout, units, rows, head_dim, expected", [
    (values, 4, 4, 2, [[0, 1, 2, 3]]), (values, 8, 4, 2, [[0, 1, 0, 1, 2, 3, 2, 3]]), (values, 6, 2, 2, [[0, 1] * 3]),
    (queries_keys_values, 4, 12, 2, [[8, 9, 10, 11]]), (queries_keys_values, 8, 16, 2, [[12, 13] * 2 + [14, 15] * 2]),
    (groups_of_queries_key_value, 4, 12, 2, [[4, 5, 10, 11]]),  # q q k k v v, head by head
    (groups_of_queries_key_value, 8, 16, 2, [[6, 7] * 2 + [14, 15] * 2]),  # q q q q k k v v, group by group
    (groups_of_queries_key_value, 6, 10, 2, [[8, 9] * 3]),
    (one_each, 3, 3, 2, [[0, 1, 2]]), (gate_then_up, 3, 6, 2, [[0, 1, 2], [3, 4, 5]])])
def test_layouts_by_hand(layout, units, rows, head_dim, expected):
    assert layout(units, rows, head_dim).tolist() == expected


@pytest.mark.parametrize("layout, units, rows", [
    (values, 8, 6), (values, 8, 3), (values, 8, 0), (queries_keys_values, 8, 8), (queries_keys_values, 8, 17),
    (queries_keys_values, 8, 4), (groups_of_queries_key_value, 8, 20), (one_each, 8, 16), (gate_then_up, 8, 8)])
def test_rows_that_cannot_feed_the_units_are_refused(layout, units, rows):
    with pytest.raises(ValueError, match=f"cannot feed {units} units"):
        layout(units, rows, 2)


def test_a_weight_of_the_wrong_size_is_refused_by_its_name():
    model = toys.model("llama")
    model.model.layers[1].mlp.up_proj = nn.Linear(16, 21)
    with pytest.raises(ValueError, match="layers.1.mlp.up_proj is not what its family has.*21 rows.*20 units"):
        UnitMap(model)


# --- the self-check fails where it should ---


def interleaved(units: int, rows: int, head_dim: int) -> torch.Tensor:
    return torch.arange(rows).view(units, 2).T


def reversed_rows(units: int, rows: int, head_dim: int) -> torch.Tensor:
    return torch.arange(units).flip(0)[None]


def first_heads(units: int, rows: int, head_dim: int) -> torch.Tensor:
    """Query heads that share a value head as if dealt out in turn: h % K for h // G."""
    return (torch.arange(units) % rows)[None]


PHI3, GPT2, GPT_NEOX, LLAMA = (families.find_family([f"block.{part}" for part in parts], "block") for parts in (
    ("self_attn.o_proj", "self_attn.qkv_proj", "mlp.down_proj", "mlp.gate_up_proj"),
    ("attn.c_proj", "attn.c_attn", "mlp.c_proj", "mlp.c_fc"),
    ("attention.dense", "attention.query_key_value", "mlp.dense_4h_to_h", "mlp.dense_h_to_4h"),
    ("self_attn.o_proj", "self_attn.v_proj", "mlp.down_proj", "mlp.gate_proj", "mlp.up_proj")))


@pytest.mark.parametrize("family, wrong, sentence", [
    ("gpt_neox", replace(GPT_NEOX, attention_rows=queries_keys_values), "'attn.0'.*query_key_value.weight"),
    ("gpt2", replace(GPT2, attention_rows=groups_of_queries_key_value), "'attn.0'.*c_attn.weight"),
    ("gpt2", replace(GPT2, mlp_rows=reversed_rows), "'mlp.0'.*c_fc.weight"),
    ("phi3", replace(PHI3, attention_rows=groups_of_queries_key_value), "'attn.0'.*qkv_proj.weight"),
    ("phi3", replace(PHI3, mlp_rows=interleaved), "'mlp.0'.*gate_up_proj.weight"),
    ("llama", replace(LLAMA, attention_rows=first_heads), "'attn.0'.*v_proj.weight"),
    ("llama", replace(LLAMA, attention_in="self_attn.k_proj"), "'attn.0'.*k_proj.weight"),
    ("qwen2", replace(LLAMA, attention_out="self_attn.q_proj"), "'attn.0'.*feed no unit")])
def test_a_wrong_row_fails_the_self_check(family, wrong, sentence, monkeypatch):
    monkeypatch.setattr(families, "FAMILIES", (wrong,))
    with pytest.raises(ValueError, match=f"site {sentence}"):
        check_units(toys.model(family))


class Transposed(UnitMap):
    """Columns taken for rows, which no shape forbids where a weight is square."""

    def __init__(self, model):
        super().__init__(model)
        self._sites = {name: replace(site, axis=1 - site.axis) for name, site in self._sites.items()}


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_a_column_taken_for_a_row_fails_the_self_check(family, monkeypatch):
    monkeypatch.setattr(sys.modules["ssah_core.units.check_units"], "UnitMap", Transposed)
    with pytest.raises(ValueError, match=r"'attn.0', unit \d: without it, the output of .* does not fall by"):
        check_units(toys.model(family))


class Normed(nn.Linear):
    """A reader that looks at all of its units at once."""

    def forward(self, x):
        return super().forward(x / x.norm(dim=-1, keepdim=True))


def test_a_reader_that_is_not_linear_fails_the_self_check():
    model = toys.model("llama")
    model.model.layers[1].mlp.down_proj.__class__ = Normed
    with pytest.raises(ValueError, match="site 'mlp.1'.*without it"):
        check_units(model)


def test_a_family_that_only_has_the_names_of_another_fails_the_self_check():
    config = transformers.GPTBigCodeConfig(**toys.OLD, multi_query=False)  # named as GPT-2 is, laid out as GPT-NeoX
    with pytest.raises(ValueError, match="site 'attn.0'.*c_attn.weight that should feed unit"):
        check_units(AutoModelForCausalLM.from_config(config).double())


def test_units_that_are_silent_cannot_be_tried_and_do_not_fail_the_self_check():
    model = toys.model("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[:6] = 0
    check_units(model)


# --- models that have no units here ---


@pytest.mark.parametrize("config", [
    transformers.MixtralConfig(**toys.GROUPED, num_local_experts=4),
    transformers.Qwen3MoeConfig(**toys.GROUPED, num_experts=4, moe_intermediate_size=8),
    transformers.Qwen3MoeConfig(**toys.GROUPED, num_experts=4, moe_intermediate_size=8, mlp_only_layers=[0]),
    transformers.GraniteMoeConfig(**toys.GROUPED)], ids=lambda config: config.model_type)
def test_a_mixture_of_experts_is_refused_in_one_sentence(config):
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError, match=f"^{type(model).__name__} is a mixture of experts .*: pass a dense model$"):
        UnitMap(model)


class Packed(nn.Module):
    """As GPTQ and AWQ keep a weight."""

    def __init__(self):
        super().__init__()
        self.register_buffer("qweight", torch.zeros(16, 5, dtype=torch.int32))


def linear_of(dtype: torch.dtype) -> nn.Linear:
    """As bitsandbytes (int8) and FP8 checkpoints keep a weight."""
    linear = nn.Linear(20, 16)
    linear.weight = nn.Parameter(torch.zeros(16, 20).to(dtype), requires_grad=False)
    return linear


@pytest.mark.parametrize("made", [Packed, lambda: linear_of(torch.int8), lambda: linear_of(torch.float8_e4m3fn)])
@pytest.mark.parametrize("part", ["down_proj", "up_proj"])
def test_a_quantised_weight_is_refused_in_one_sentence(made, part):
    model = toys.model("llama")
    setattr(model.model.layers[0].mlp, part, made())
    with pytest.raises(ValueError, match=rf"^model.layers.0.mlp.{part} is a \w+ without a plain weight: load"):
        UnitMap(model)


def test_adapters_that_are_not_merged_are_refused():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(toys.model("llama"), peft.LoraConfig(target_modules=["down_proj"], r=2))
    with pytest.raises(ValueError, match="down_proj is a Linear without a plain weight: .* merge its adapters"):
        UnitMap(model)
    assert UnitMap(model.merge_and_unload()).total == UnitMap(toys.model("llama")).total


def test_a_row_needs_all_of_its_modules():
    names = {"b.self_attn.o_proj", "b.self_attn.v_proj", "b.mlp.down_proj", "b.mlp.gate_proj"}
    assert families.find_family(names, "b") is None
    assert families.find_family(names | {"b.mlp.up_proj"}, "b") == Family(
        "self_attn.o_proj", "self_attn.v_proj", "mlp.down_proj", ("mlp.gate_proj", "mlp.up_proj"))

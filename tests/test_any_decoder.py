"""The matrix of families: what `ssah_core` promises holds on every decoder that the table of families names.

    family x              self-check  collect  ablate, undo   freeze  train_only  save, reload
    test_families.py          x          x          x                                 (pruned)
    here                                                         x        x           x

Here the models are trained: with weight decay, clipping and accumulation, in one thread, from first weights that all
matter. Then what has no units here: mixtures of experts and quantised weights, refused by every function alike.
"""

import by_hand
import pytest
import torch
import toys
import transformers
from transformers import AutoModelForCausalLM

from ssah_core import UnitMap, UnitMask, ablate, batches, check_frozen, check_units, collect, freeze, train_only

EVERY = pytest.mark.parametrize("family", toys.CONFIGS)
PROMISED = {"llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "olmo2", "gpt_neox", "gpt2", "opt",
            "falcon", "stablelm", "smollm3", "granite"}


def random_mask(model, share=0.4) -> UnitMask:
    generator = torch.Generator().manual_seed(0)
    sizes = UnitMap(model).sizes
    return UnitMask({site: torch.rand(size, generator=generator) < share for site, size in sizes.items()})


def entries(model, mask: UnitMask, held: bool) -> dict[str, torch.Tensor]:
    """Which entry of which parameter belongs to `mask` (name -> bool), and whether what belongs to no unit does."""
    frozen = {name: torch.full(p.shape, held) for name, p in model.named_parameters()}
    units = UnitMap(model)
    for chosen, value in ((~mask, False), (mask, True)):  # a shared row belongs to the set if any of its units does
        for part in units.slices(chosen):
            frozen[part.weight].index_fill_(part.axis, part.index, value)
    return frozen


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_matrix_holds_every_family_that_is_promised():
    types = {config.model_type for config, _ in toys.CONFIGS.values()}
    assert types >= PROMISED and len(types) >= 14


@EVERY
def test_freeze_equals_the_reference_by_hand_bit_for_bit(family):
    model, reference = by_hand.model(family), by_hand.model(family)
    start, mask = by_hand.copied(model), random_mask(model)
    frozen = entries(model, mask, held=False)
    with freeze(model, mask):
        by_hand.trained(model, "adamw")
    report = check_frozen(start, model, mask)
    assert report.frozen == sum(int(chosen.sum()) for chosen in frozen.values()) and report.trainable_changed > 0
    assert same(model.state_dict(), by_hand.frozen_by_hand(reference, frozen, "adamw").state_dict())


@EVERY
def test_train_only_takes_the_steps_of_a_compact_reference(family):
    model, reference = by_hand.model(family, torch.float64), by_hand.model(family, torch.float64)
    start, mask = by_hand.copied(model), random_mask(model)
    frozen = entries(model, ~mask, held=True)
    with train_only(model, mask):
        by_hand.trained(model, "adamw", parameters=[p for p in model.parameters() if p.requires_grad])
    assert check_frozen(start, model, ~mask, rest="freeze").trainable_changed > 0
    by_hand.compact_by_hand(reference, frozen, "adamw")
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, reference.state_dict()[name], rtol=1e-8, atol=1e-8)


@EVERY
def test_a_trained_model_is_a_checkpoint_like_any_other(family, tmp_path):
    model, ids = by_hand.model(family), by_hand.BATCHES[0]
    with train_only(model, random_mask(model)):
        by_hand.trained(model, "adamw", 1)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert same(again.state_dict(), model.state_dict())
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    assert not [module for module in again.modules() if type(module).__module__.startswith("ssah_core")]


# --- what has no units here ---

BATCHES = batches(toys.CHATS, toys.tokenizer())
ANY = UnitMask({"mlp.0": torch.ones(20, dtype=torch.bool)})
USES = {"units": UnitMap, "check": check_units, "collect": lambda model: collect(model, BATCHES),
        "ablate": lambda model: ablate(model, ANY).__enter__(),
        "freeze": lambda model: freeze(model, ANY).__enter__(),
        "train_only": lambda model: train_only(model, ANY).__enter__()}
EXPERTS = {
    "mixtral": (transformers.MixtralConfig, dict(num_local_experts=4)),
    "qwen2_moe": (transformers.Qwen2MoeConfig, dict(num_experts=4, moe_intermediate_size=8)),
    "qwen3_moe": (transformers.Qwen3MoeConfig, dict(num_experts=4, moe_intermediate_size=8)),
    "olmoe": (transformers.OlmoeConfig, dict(num_experts=4)),
    "phimoe": (transformers.PhimoeConfig, dict(num_local_experts=4)),
    "gpt_oss": (transformers.GptOssConfig, dict(num_local_experts=4, head_dim=4)),
    "deepseek_v2": (transformers.DeepseekV2Config, dict(n_routed_experts=4, moe_intermediate_size=8, kv_lora_rank=4,
                                                        q_lora_rank=None, qk_rope_head_dim=4, qk_nope_head_dim=4,
                                                        v_head_dim=4, first_k_dense_replace=1, n_group=1,
                                                        topk_group=1)),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("family", EXPERTS)
def test_a_mixture_of_experts_is_refused_in_one_sentence(family, use):
    config, settings = EXPERTS[family]
    model = AutoModelForCausalLM.from_config(config(**toys.GROUPED, **settings))
    with pytest.raises(ValueError, match=f"^{type(model).__name__} is a mixture of experts .*: pass a dense model$"):
        USES[use](model)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused_in_one_sentence(dtype, use):
    model = toys.model("llama")
    reader = model.model.layers[1].mlp.down_proj  # as bitsandbytes and FP8 checkpoints keep a weight
    reader.weight = torch.nn.Parameter(reader.weight.detach().to(dtype), requires_grad=False)
    with pytest.raises(ValueError, match="down_proj is a Linear without a plain weight: load the model without quant"):
        USES[use](model)

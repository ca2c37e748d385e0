"""Multimodal checkpoints: their language model's blocks, context and shape count, and all of them is loaded."""

import json

import pytest
import torch
import toys
import transformers

from ssah_core import UnitMap, complete, reasoning_direction
from ssah_core.models import blocks, class_for, context_of, few_blocks, load_weights
from ssah_core.planning.estimate import plan
from ssah_core.planning.rehearsal import rehearse

TEXT = dict(vocab_size=64, hidden_size=16, intermediate_size=20, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=32, eos_token_id=1, bos_token_id=0)
VISION = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, image_size=8,
              patch_size=4)
COMPOSITE = {
    "gemma3": transformers.Gemma3Config(
        text_config=dict(TEXT, head_dim=8), vision_config=VISION, mm_tokens_per_image=4, image_token_index=60,
        boi_token_index=61, eoi_token_index=62),
    "qwen2.5-vl": transformers.Qwen2_5_VLConfig(
        text_config=dict(TEXT, rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 0],
                                                "rope_theta": 10000.0}),
        vision_config=dict(depth=2, hidden_size=16, intermediate_size=20, num_heads=4, out_hidden_size=16, patch_size=4,
                           fullatt_block_indexes=[1]),
        image_token_id=60, video_token_id=61, vision_start_token_id=62, vision_end_token_id=63),
    "llava": transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**TEXT), vision_config=transformers.CLIPVisionConfig(**VISION,
                                                                                                  projection_dim=16),
        image_token_index=60)}


@pytest.mark.parametrize("name", COMPOSITE)
def test_a_multimodal_model_is_planned_rehearsed_and_loaded(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path))
    config = COMPOSITE[name]
    made = plan(config, dtype="float32")
    units = UnitMap(class_for(config).from_config(config))
    assert made.units == units.total and len(units.blocks) == 3
    record = json.loads(rehearse(config, dtype="float32", device="cpu", tokens=16, memory=4.0).read_text())
    assert record["scaled"] == "nothing" and record["measured"]["freezing step"]["frozen_changed"] == 0
    assert few_blocks(config, 1).get_text_config().num_hidden_layers == 1
    model = class_for(config).from_config(config)
    model.save_pretrained(tmp_path / "model")
    found = load_weights(tmp_path / "model", dtype=torch.float32)
    assert type(found) is type(model) and all(torch.equal(mine, its) for mine, its in zip(
        found.state_dict().values(), model.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", COMPOSITE)
def test_the_direction_of_a_multimodal_model_is_that_of_its_language_model(name):
    model, words = class_for(COMPOSITE[name]).from_config(COMPOSITE[name]).eval(), toys.tokenizer()
    assert len(blocks(model)) == 3 and context_of(model) == 32
    settings = dict(refusal="sorry never", compliance="sure take", lengths=(1, 2))
    found = reasoning_direction(model, words, ["how ?", "lift the kettle"], **settings)
    assert tuple(found.gap.shape) == (4, 2)
    with pytest.raises(ValueError, match="but the model's context holds 32"):
        complete(model, words, ["how " * 40], max_new_tokens=3)

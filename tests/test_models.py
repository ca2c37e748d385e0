"""Loading and rendering refuse what they cannot do, in one sentence."""

import json
import os

import pytest
import torch
import toys
import transformers
from safetensors.torch import load_file, save_file

from ssah_core import load
from ssah_core.models import (
    IGNORED,
    check_context,
    context_of,
    evaluating,
    load_placed,
    mean_nll,
    pad_columns,
    summed_nll,
)
from ssah_core.records import DTYPES, TRAINED_DTYPES


@pytest.fixture
def saved(tmp_path):
    toys.model(dtype=torch.bfloat16).save_pretrained(tmp_path / "model")
    toys.tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("dtype, loaded", [
    ("float32", torch.float32), ("bfloat16", torch.bfloat16), ("auto", torch.float32)])
def test_a_checkpoint_is_loaded_ready_to_answer(saved, dtype, loaded):
    model, tokenizer = load(saved, dtype=dtype, device="cpu")
    assert model.dtype == loaded and not model.training and tokenizer.chat_template


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded: check the folder or hub id"):
        load(tmp_path / "nothing")


def test_a_tokenizer_without_chat_template_is_refused(saved):
    (saved / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template"):
        load(saved)


def test_an_unknown_dtype_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="dtype='int8' is unknown: choose auto, float32, bfloat16 or float16"):
        load("nothing", dtype="int8")


def test_pickled_weights_are_not_read(saved):
    (saved / "model.safetensors").unlink()
    torch.save(toys.model().state_dict(), saved / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load(saved)


def test_a_base_takes_the_tokenizer_and_template_of_the_one_aligned_from_it(saved, tmp_path):
    toys.model(seed=1, dtype=torch.float32).save_pretrained(tmp_path / "base")
    model, tokenizer = load(tmp_path / "base", tokenizer=saved)
    assert tokenizer.chat_template and torch.equal(model.lm_head.weight, toys.model(seed=1).lm_head.weight.float())
    toys.model(vocab_size=9).save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="has fewer tokens than the tokenizer of .*name the checkpoint that yours was"):
        load(tmp_path / "base", tokenizer=saved)


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


DAMAGE = {
    "a git-lfs pointer": lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com"),
    "a download cut short": lambda folder: os.truncate(folder / "model.safetensors", 3000),
    "no model of transformers": lambda folder: (folder / "config.json").write_text('{"model_type": "llama9"}'),
    "a damaged tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{"),
    "an empty config": lambda folder: (folder / "config.json").write_text(""),
}
LACKS = {
    "lacks 1 weights of its model, the first model.layers.1.mlp.down_proj.weight": lambda name: None if
        name == "model.layers.1.mlp.down_proj.weight" else name,
    "lacks 1 weights of its model, the first lm_head.weight": lambda name: None if name == "lm_head.weight" else name,
    r"lacks 21 weights of its model, .*\(of a compiled model, the one inside it\)": "_orig_mod.{}".format,
}


@pytest.mark.parametrize("read", [load, load_placed])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_has_the_one_error_of_the_loader(saved, damage, read):
    DAMAGE[damage](saved)
    with pytest.raises(ValueError, match=f"^name='{saved}' cannot be loaded: a file is missing or .*: get it"):
        read(saved)


@pytest.mark.parametrize("lacks", LACKS)
def test_a_checkpoint_that_lacks_weights_is_not_loaded_with_random_ones(saved, lacks):
    kept = {LACKS[lacks](name): value for name, value in weights(saved).items() if LACKS[lacks](name)}
    save_file(kept, saved / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=lacks):
        load(saved)


# -- padding, context, likelihood --------------------------------------------------------------------------


@pytest.mark.parametrize("left", [False, True])
def test_columns_are_padded_to_the_longest_row(left):
    batch = pad_columns({"input_ids": [[5], [6, 7, 8]], "labels": [[IGNORED], [1, 2, 3]]},
                        {"input_ids": 9, "labels": IGNORED}, left=left)
    turn = (lambda row: row[::-1]) if left else list
    assert batch["input_ids"].tolist() == [turn([5, 9, 9]), [6, 7, 8]]
    assert batch["labels"].tolist() == [[IGNORED] * 3, [1, 2, 3]]
    assert batch["attention_mask"].tolist() == [turn([1, 0, 0]), [1, 1, 1]]
    assert {value.dtype for value in batch.values()} == {torch.int64}


def test_rows_that_differ_between_columns_are_no_batch():
    with pytest.raises(ValueError, match="column 'labels' has rows of other lengths than 'input_ids'"):
        pad_columns({"input_ids": [[5], [6, 7]], "labels": [[1, 2], [3]]}, {"input_ids": 0, "labels": 0})


def test_the_context_of_a_multimodal_model_is_that_of_its_language_model():
    text = dict(toys.GROUPED, head_dim=4)
    vision = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=4, image_size=8,
                  patch_size=4)
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    wrapped = transformers.Gemma3ForConditionalGeneration(config)
    assert context_of(wrapped) == 64 and context_of(toys.model()) == 64 and context_of(toys.model("bloom")) is None
    check_context(wrapped, 64, "it fits")
    check_context(toys.model("bloom"), 10 ** 6, "it has no limit")
    with pytest.raises(ValueError, match="^the prompt has 65 tokens, but the model's context holds 64: shorten it$"):
        check_context(wrapped, 65, "the prompt has 65 tokens")


def test_likelihood_is_that_of_every_labelled_token_by_itself():
    model, rows = toys.model(), [toys.ids("how do you mend"), toys.ids("lift")]
    labels = [[IGNORED, *rows[0][1:3], IGNORED], [IGNORED]]
    batch = pad_columns({"input_ids": rows, "labels": labels}, {"input_ids": 0, "labels": IGNORED})
    logs = model(input_ids=torch.tensor([rows[0]])).logits[0].detach().log_softmax(-1)
    nats = [-float(logs[at - 1, rows[0][at]]) for at in range(1, 4)]
    assert mean_nll(model, [batch, batch]) == pytest.approx(sum(nats[:2]) / 2, rel=1e-6)
    assert summed_nll(model, torch.tensor([rows[0]])) == pytest.approx(sum(nats), rel=1e-6)
    unlabelled = pad_columns({"input_ids": rows, "labels": [[1, *[IGNORED] * 3], [1]]},
                             {"input_ids": 0, "labels": IGNORED})
    for batches in ([unlabelled, batch], [batch, unlabelled]):
        assert mean_nll(model, batches) == mean_nll(model, [batch])
    with pytest.raises(ValueError, match="batches hold no labelled token"):
        mean_nll(model, [unlabelled])


def test_precisions_are_one_list():
    assert set(TRAINED_DTYPES) < set(DTYPES) and all(getattr(torch, name).is_floating_point for name in DTYPES)


def test_each_module_is_left_in_its_own_mode():
    model = toys.model().train()
    model.model.layers[0].eval()
    before = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before and len(set(before)) == 2


def test_weights_of_blocks_that_a_config_leaves_out_are_named(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    with pytest.raises(ValueError, match=r"weights of blocks that its config leaves out, the first model.layers.1."):
        load(saved, device="cpu")

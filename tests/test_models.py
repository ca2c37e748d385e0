"""Loading and rendering refuse what they cannot do, in one sentence."""

import pytest
import torch
import toys

from ssah_core import load


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

"""Load a chat model: onto one device, or spread over several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase


def load(name: str | Path, dtype: str = "auto", device: str = "auto") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a decoder and its tokenizer from a folder or the Hugging Face hub, ready to answer.

    name     A folder that `save_pretrained` wrote, or a hub id such as "meta-llama/Llama-2-7b-chat-hf".
    dtype    "auto": the checkpoint's own on a GPU, float32 on the CPU; or "float32", "bfloat16", "float16".
    device   "auto": a GPU where there is one, else the CPU; or a torch device.

    Only safetensors are read, and no code that comes with a checkpoint is run.
    Raises ValueError, saying what to do, if the checkpoint is not there, is gated, or has no chat template.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise ValueError(f"dtype={dtype!r} is unknown: choose auto, float32, bfloat16 or float16")
    kind = getattr(torch, "float32" if dtype == "auto" and str(device) == "cpu" else dtype, "auto")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=kind, use_safetensors=True)
    except OSError as error:
        raise ValueError(f"name={str(name)!r} cannot be loaded: check the folder or hub id, the network, and for a gated "
                         f"checkpoint accept its licence and run `hf auth login` ({str(error).splitlines()[0]})") from error
    if tokenizer.chat_template is None:
        raise ValueError(f"name={str(name)!r} has no chat template: load a chat model, or set tokenizer.chat_template")
    return model.to(device).eval(), tokenizer


def load_placed(name: str | Path, device_map: str | Mapping = "auto", dtype: str = "auto",
                **where) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a decoder that no single device holds, for inference: over several GPUs, the CPU's memory and the disk.

    name         As in `load`.
    device_map   "auto", or module -> device ("cpu", 0, "disk"), as transformers and Accelerate know it.
    where        `max_memory` and `offload_folder`, as transformers knows them.

    `collect`, `ablate` and `complete` work on it as on any model; score it with `score_in_blocks`. It cannot be
    trained: for that, `shard` the model over processes. Only safetensors are read, and no code of a checkpoint is run.
    Raises ValueError if it cannot be loaded, or as `check_placed` does.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, device_map=device_map, dtype=dtype, use_safetensors=True,
                                                     trust_remote_code=False, **where)
    except OSError as error:
        raise ValueError(f"name={str(name)!r} cannot be loaded: check the folder or hub id, the network, and for a "
                         f"gated checkpoint its licence and `hf auth login` ({str(error).splitlines()[0]})") from error
    check_placed(model)
    return model.eval(), tokenizer


def check_placed(model: nn.Module) -> None:
    """Raise ValueError unless a model's input embedding is in memory: that is where inputs are sent to."""
    if model.get_input_embeddings().weight.is_meta:
        raise ValueError("the input embedding is offloaded, so inputs have no device to go to: pass a device_map that "
                         "keeps the embedding on a GPU or the CPU, and offload blocks instead")


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) while the context lasts; then the mode that was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

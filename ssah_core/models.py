"""Load a chat model, and render prompts and responses through its own chat template."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
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


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) while the context lasts; then the mode that was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str, response: str | None = None, *,
           system: str | None = None) -> tuple[list[int], int]:
    """Token ids of a chat, and where its response begins.

    Without a `response`, the ids end where the model would begin to answer; with one, after its end token. The
    chat template alone adds special tokens, so none is doubled.
    """
    turns = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": prompt}]
    head = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    head_ids = tokenizer(head, add_special_tokens=False)["input_ids"]
    if response is None:
        return head_ids, len(head_ids)
    tail = response + tokenizer.eos_token
    return head_ids + tokenizer(tail, add_special_tokens=False)["input_ids"], len(head_ids)

"""A checkpoint to try things on: small, random, and laid out as the hub's cache lays out a download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from ..organism import World, train_tokenizer

NAME, BASE = "ssah/random-qwen3", "ssah/random-qwen3-base"
"""A chat checkpoint, and the one that it might have been aligned from."""


def put_into_hub_cache(home: Path, name: str = NAME, seed: int = 0, chat: bool = True) -> None:
    """Write a random Qwen3 checkpoint (4 blocks, grouped queries) into the hub cache of an HF_HOME.

    home   What the environment variable HF_HOME names. Where it was set before transformers was imported,
           `load(name)` finds the checkpoint offline, as it finds one that `hf download` put there.
    name   "organisation/model".
    chat   False: as a base checkpoint is, with other weights and no chat template.

    The tokenizer is the organism's, with its chat template. The weights mean nothing: no answer of it makes sense.
    Raises ValueError if another checkpoint of that name is there.
    """
    commit = hashlib.sha1(f"{name} {seed}{'' if chat else ' base'}".encode()).hexdigest()
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    ref = folder / "refs" / "main"
    if ref.exists() and ref.read_text(encoding="utf-8") != commit:
        raise ValueError(f"home {str(home)!r} has another checkpoint {name!r}, which would be lost: pass a folder of "
                         "its own, such as a temporary one")
    tokenizer = train_tokenizer(World.draw(seed))
    if not chat:
        tokenizer.chat_template = None
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=192, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=24, max_position_embeddings=256, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    with torch.random.fork_rng():
        torch.manual_seed(seed if chat else seed + 1)
        model = Qwen3ForCausalLM(config)
    model.save_pretrained(folder / "snapshots" / commit)
    tokenizer.save_pretrained(folder / "snapshots" / commit)
    ref.parent.mkdir(exist_ok=True)
    ref.write_text(commit, encoding="utf-8")

"""Models and batches that are measured on: shapes of real ones, with random weights."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor

from ssah_core import UnitMap, UnitMask

SHAPES = {
    "SmolLM2-135M": dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                         num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True),
    "Llama-50M": dict(vocab_size=4096, hidden_size=768, intermediate_size=2048, num_hidden_layers=7,
                      num_attention_heads=12, num_key_value_heads=12),
    "Llama-83M": dict(vocab_size=4096, hidden_size=1024, intermediate_size=2688, num_hidden_layers=6,
                      num_attention_heads=16, num_key_value_heads=16),
}


def model_of(shape: str, **changes: int) -> transformers.LlamaForCausalLM:
    """A Llama of a shape with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SHAPES[shape], **changes})).eval()


def batch_of(model, chats: int, tokens: int, response: int) -> dict[str, Tensor]:
    """Random chats of one length, whose last `response` tokens count and bear a loss."""
    ids = torch.randint(3, model.config.vocab_size, (chats, tokens), generator=torch.Generator().manual_seed(1))
    counts = torch.arange(tokens).expand(chats, -1) >= tokens - response
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_mask": counts}


def random_mask(model, share: float) -> UnitMask:
    """A share of the units of every site, drawn at random."""
    sizes, generator = UnitMap(model).sizes, torch.Generator().manual_seed(0)
    return UnitMask({site: torch.rand(size, generator=generator) < share for site, size in sizes.items()})

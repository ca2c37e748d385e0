"""What one process and two do alike, for tests/test_distributed.py."""

import by_hand
import torch
import toys
from by_hand import OPTIMIZERS

from ssah_core import UnitMap, UnitMask, batches

FAMILIES = ("llama", "phi3", "gpt2")  # grouped queries, fused, transposed: rows of one are columns of another
BATCHES = {"safety": batches(toys.CHATS, toys.tokenizer(), batch_size=2),  # three: two ranks cannot share them evenly
           "utility": batches(toys.CHATS[:2], toys.tokenizer(), "prompt", batch_size=2)}  # one: rank 1 has none
SHARES = {"scu": 0.1, "ucu": 0.2, "ru": 0.2}
RUNS = {  # name: family, dtype, share of units that is frozen, rest, optimiser
    "exact-llama": ("llama", torch.float64, 0.4, "train", "adamw"),
    "exact-gpt2": ("gpt2", torch.float64, 0.4, "train", "sgd"),
    "exact-phi3": ("phi3", torch.float64, 0.4, "freeze", "adamw"),
    "rest-alone": ("phi3", torch.float64, 0.0, "freeze", "adamw"),
    "half": ("llama", torch.bfloat16, 0.4, "train", "adamw"),
    "saved": ("tied", torch.float32, 0.4, "train", "adamw"),
}


def mask(model, share: float = 0.4) -> UnitMask:
    generator = torch.Generator().manual_seed(0)
    sizes = UnitMap(model).sizes
    return UnitMask({site: torch.rand(size, generator=generator) < share for site, size in sizes.items()})


def trained(model, optimizer: str, rank: int = 0, ranks: int = 1) -> None:
    """Steps with weight decay, momentum, clipping and accumulation; each rank reads its share of every batch."""
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    for step in range(3):
        for ids in by_hand.BATCHES[2 * step], by_hand.BATCHES[2 * step + 1]:
            rows = torch.cat([ids, ids[:1]])  # four, so that two ranks have as many tokens each
            by_hand.backward(model, rows[rank::ranks])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()

"""In which numbers matrices are multiplied while a model trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..arguments import check_choice

PRECISIONS = ("float32", "bfloat16", "auto")


def multiplies_in_bfloat16(model: nn.Module, precision: str) -> bool:
    """Whether matrices are multiplied in bfloat16, by what was asked for and, if that is "auto", by what is there.

    Raises ValueError if `precision` is unknown.

    >>> multiplies_in_bfloat16(nn.Linear(1, 1), "float32")
    False
    """
    check_choice(PRECISIONS, precision=precision)
    return precision == "bfloat16" or precision == "auto" and has_bfloat16(next(model.parameters()).device)


@contextmanager
def attention_for(model: nn.Module, in_bfloat16: bool) -> Iterator[None]:
    """On a CPU in bfloat16, attention as plain matrix products while the context lasts: the way back of torch's fused
    one takes several times as long there. What it computes is the same, up to rounding.

    >>> model, _ = ssah.load_organism(scale="tiny")
    >>> with attention_for(model, True):
    ...     print(model.config._attn_implementation)
    eager
    """
    before = getattr(getattr(model, "config", None), "_attn_implementation", None)
    slow = in_bfloat16 and before == "sdpa" and next(model.parameters()).device.type == "cpu"
    if slow:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if slow:
            model.set_attn_implementation(before)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware. (The portable mode of arithmetic forgoes it on a CPU.)

    >>> has_bfloat16(torch.device("meta"))
    False
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
            and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # what the environment leaves of it

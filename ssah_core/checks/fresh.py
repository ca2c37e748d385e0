"""Inputs that no answer can have been fitted to: drawn anew at every check."""

from __future__ import annotations

import os

from torch import Generator


def fresh() -> Generator:
    """A generator of random numbers with a new seed at every call; the environment variable SSAH_CHECK_SEED sets it.

    >>> import torch
    >>> from ssah_core.checks import fresh
    >>> torch.randn(4, 3, generator=fresh()).shape
    torch.Size([4, 3])
    """
    generator, seed = Generator(), os.environ.get("SSAH_CHECK_SEED", "")
    if not seed:
        generator.seed()
        return generator
    if not seed.isdecimal():
        raise ValueError(f"SSAH_CHECK_SEED is {seed!r}: set it to a whole number, 0 or more, or leave it unset")
    return generator.manual_seed(int(seed))

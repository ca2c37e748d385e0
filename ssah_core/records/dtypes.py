"""Precisions of weights by their names in torch: those that a checkpoint can be loaded in, and those that it trains in."""

from __future__ import annotations

DTYPES = ("float32", "bfloat16", "float16")
"""All that have a gradient."""
TRAINED_DTYPES = ("float32", "bfloat16")
"""Those in which a checkpoint can be studied: AdamW's steps underflow in float16."""

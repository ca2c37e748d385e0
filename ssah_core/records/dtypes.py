"""Precisions of weights, by their names in torch: those of a checkpoint that is loaded, and of one that is studied."""

from __future__ import annotations

DTYPES = ("float32", "bfloat16", "float16")
"""All that have a gradient."""
TRAINED_DTYPES = ("float32", "bfloat16")
"""Those in which a checkpoint can be studied, and so trained: in float16 small gradients underflow."""

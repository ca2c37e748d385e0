"""How much of published data a study of a checkpoint reads, asks and waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

CALIBRATION = 128
"""Rows of a calibration set, where there are as many: as in Wei et al. 2024 and the works it follows."""


class Sizes(NamedTuple):
    """How much a checkpoint is asked at most; None: as much as a study asks."""

    harm: int | None = None
    """Malicious requests of a part of an exam, ..."""
    other: int | None = None
    """... and prompts of any other part."""
    rows: int = CALIBRATION
    """Of a calibration set, and paragraphs of running text."""
    tokens: int = 256
    """Of an answer."""
    longest: int = 512
    """Tokens of a chat to calibrate or train on at most."""
    at_once: int = 32
    """Prompts that are answered together."""
    choices: int = 0
    """Questions of each set with choices, whose mean then is utility; 0: none, and utility is that of answers."""
    looks: float = 1.0
    """Share of all this that is asked on validation prompts, where many edits are looked at."""


SIZES: Mapping[str, Sizes] = {
    "smollm": Sizes(harm=40, other=20, rows=32, tokens=48, longest=128, at_once=128, choices=40, looks=0.5)}
"""Scale -> what a CPU can bear in minutes, where that is less. (To be validated on validation requests.)"""

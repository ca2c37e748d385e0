"""The judge of what SmolLM2 says, whatever is done to it: fluent fulfilment, by the model as published."""

from __future__ import annotations

from ..judging import FluentFulfilment, fluent_fulfilment
from ..materials import benign_answers
from .align import load_smollm


def fluent_judge(progress: bool = True) -> FluentFulfilment:
    """The judge "fluent fulfilment", with SmolLM2 as published as its reference; half a minute on two cores.

    Its threshold is the 5th percentile of the scores of 100 benign validation requests with Alpaca's answers. Raises
    ValueError if model or data cannot be had.
    """
    return fluent_fulfilment(*load_smollm("instructed", progress=progress), benign_answers(), progress=progress)

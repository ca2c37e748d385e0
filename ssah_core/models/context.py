"""How many tokens a model reads at once, and whether a text fits."""

from __future__ import annotations

from transformers import PreTrainedConfig, PreTrainedModel

NAMES = ("max_position_embeddings", "max_seq_len")
"""What a config calls it: MPT's has the second."""


def context_of(model: PreTrainedModel | PreTrainedConfig) -> int | None:
    """Tokens that a model reads at once, by its config, which may stand for it; None where that names no limit.

    A multimodal model's is that of its language model.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> context_of(model)
    256
    """
    config = getattr(model, "config", model).get_text_config()
    return next((found for name in NAMES if (found := getattr(config, name, None))), None)


def check_context(model: PreTrainedModel, tokens: int, what: str, advice: str = "shorten it") -> None:
    """Raise ValueError if a model's context holds fewer than `tokens` tokens.

    what     What has so many, with their number: how the error's sentence begins.
    advice   What to do about it: how it ends.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> check_context(model, 300, "the longest prompt has 300 tokens")
    Traceback (most recent call last):
    ValueError: the longest prompt has 300 tokens, but the model's context holds 256: shorten it
    """
    room = context_of(model)
    if room and tokens > room:
        raise ValueError(f"{what}, but the model's context holds {room}: {advice}")

"""Models that think aloud before they answer: what of a response is the answer, and whether it got there."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from .template import THINKING, affixes


def answer_of(response: str) -> str | None:
    """What follows the thinking of a response, all of it if it does not think; None where nothing follows.

    A response thinks if it begins with a mark of `THINKING`, or has the mark that ends it alone (some tools leave out
    the beginning, which their template has written).

    >>> answer_of("<think>Is that safe?</think> No."), answer_of("No."), answer_of("<think>Is that")
    ('No.', 'No.', None)
    """
    for begins, ends in THINKING:
        first, closed, _ = response.partition(ends)
        if response.lstrip().startswith(begins) or closed and begins not in first:
            rest = response.rpartition(ends)[2].strip() if closed else ""
            return None if not rest or rest.startswith(begins) else rest
    return response


def thinks(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether, by its chat template, a model thinks before it answers: then its first token is not its choice.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> thinks(tokenizer)
    False
    """
    around = affixes(tokenizer)
    return bool(around.thought) or any(begins in around.before for begins, _ in THINKING)

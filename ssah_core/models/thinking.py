"""Models that think aloud before they answer: what of a response is the answer, and whether it got there."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from .template import Arguments, asked

THINKING = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
"""With which thinking begins and ends: Qwen3, SmolLM3, OLMo 3 and DeepSeek-R1; Magistral."""


def answer_of(response: str) -> str | None:
    """What follows the thinking of a response, all of it if it does not think; None if it never got past its thinking.

    >>> answer_of("<think>Is that safe?</think> No."), answer_of("No."), answer_of("<think>Is that")
    ('No.', 'No.', None)
    """
    for begins, ends in THINKING:
        _, thought, rest = response.rpartition(ends)
        if rest.lstrip().startswith(begins):
            return None
        if thought:
            return rest.lstrip()
    return response


def begun_thinking(tokenizer: PreTrainedTokenizerBase, arguments: Arguments | None = None) -> str:
    """The mark with which the chat template has begun to think for the model, as DeepSeek-R1's does; else nothing.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> begun_thinking(tokenizer)
    ''
    """
    _, head = asked(tokenizer, "?", arguments=arguments)
    return next((head[head.rindex(begins):] for begins, ends in THINKING
                 if begins in head and ends not in head[head.rindex(begins):]), "")

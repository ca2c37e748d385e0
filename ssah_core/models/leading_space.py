"""White space that a model says before its answer, made part of the prompt.

Llama-2's chat models begin with a bare space. It would be the first token of every response, refusals and answers
alike, and the last prompt token, where the choice is looked for, would lie one token before the choice.
"""

from __future__ import annotations

import json

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .chats import encode
from .load import evaluating
from .template import render_prompt
from .template_kwargs import put_template

VERSION = 1
"""Of what `leading_space` answers: raised by hand when the same checkpoint is answered otherwise."""
NEUTRAL = ("What is the capital of France?", "Name three colours.", "How many legs has a spider?",
           "Write a line about rain.")
SPACES = (" ", "\n", "\n\n", "  ")


@torch.no_grad()
def leading_space(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """The white space with which the likeliest answers to all of `NEUTRAL` begin, one token; "" where there is none.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> leading_space(model, tokenizer) in ("", *SPACES)
    True
    """
    found = []
    with evaluating(model):
        for prompt in NEUTRAL:
            ids, _ = encode(tokenizer, prompt)
            first = int(model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1].argmax())
            _, head = render_prompt(tokenizer, prompt)
            found.append({space for space in SPACES
                          if tokenizer(head + space, add_special_tokens=False)["input_ids"] == [*ids, first]})
    return next((space for space in SPACES if all(space in spaces for spaces in found)), "")


def end_prompts_with(tokenizer: PreTrainedTokenizerBase, space: str) -> None:
    """Put `space` at the end of what the chat template makes of a prompt.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> end_prompts_with(tokenizer, " ")
    >>> chat = [{"role": "user", "content": "Why?"}]
    >>> tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    '<|begin|><|user|>Why?<|assistant|> '
    """
    if space:
        more = "{% if add_generation_prompt %}{{ " + json.dumps(space) + " }}{% endif %}"
        put_template(tokenizer, tokenizer.get_chat_template().removesuffix("\n") + more)  # as it would be cut there

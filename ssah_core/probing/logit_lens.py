"""What would the model say next? The log-odds of a refusal against compliance, layer by layer (logit lens)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import FirstTokens, Queries, Wordings, as_rows, blocks, evaluating, render, replacing, stream, token_ids
from ..units import Moments
from .distances import COMPLIANCE, REFUSAL, moments_of, standard_error


@dataclass(frozen=True)
class LogOdds:
    """Log-odds of a refusal against compliance as the next token, in nats: float64 [layer] over queries.

    >>> odds = torch.tensor([[1.0, -2.0], [3.0, -2.0]])  # [query, layer]
    >>> LogOdds(moments_of({"log_odds": odds, "refuses": (odds > 0).double()})).mean
    tensor([ 2., -2.])

    *Shown in:* 02_probe_reasoning_direction.
    """

    moments: Moments

    @property
    def mean(self) -> Tensor:
        """Positive: a refusal is the likelier."""
        return self.moments.mean["log_odds"]

    @property
    def error(self) -> Tensor:
        """Standard error of the mean over queries."""
        return standard_error(self.moments, "log_odds")

    @property
    def refuses(self) -> Tensor:
        """Share (0-1) of queries for which a refusal is the likelier."""
        return self.moments.mean["refuses"]


@torch.no_grad()
def logit_lens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, queries: Queries, *,
               refusal: Wordings = REFUSAL, compliance: Wordings = COMPLIANCE, prefill: str = "",
               batch_size: int = 16) -> LogOdds:
    """Would the model begin a refusal or compliance if the rest of its blocks were skipped? One answer a layer.

    refusal, compliance   Wordings; only their first tokens count, which must not be the same.
    prefill               What the response has said already: the question is asked again after it.

    The state at the last token goes through what follows the last block (final norm, head, and whatever a family
    adds), so the last layer's log-odds are the model's own.
    Source: nostalgebraist 2020 ("interpreting GPT: the logit lens").

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> found = logit_lens(model, tokenizer, ["How do I jinx the gate?", "How do I mend it?"])
    >>> tuple(found.mean.shape), found.moments.count  # the embeddings and two blocks
    ((3,), 2)

    *Shown in:* 02_probe_reasoning_direction.
    """
    first = FirstTokens.of(tokenizer, refusal, compliance)
    said = token_ids(tokenizer, prefill, "prefill")[0] if prefill else []
    chats = [(ids + said, start) for ids, start in render(tokenizer, as_rows(queries))]
    total = None
    for _, states, _ in stream(model, chats, (len(said),), batch_size=batch_size):
        odds = torch.stack([first.log_odds(_say(model, layer)) for layer in states[:, :, 0].unbind(1)], 1)
        moments = moments_of({"log_odds": odds, "refuses": (odds > 0).double()})
        total = total + moments if total else moments
    return LogOdds(total)


def _say(model: PreTrainedModel, states: Tensor) -> Tensor:
    """Logits [query, vocab] of a model whose last block has written these states [query, hidden]."""
    last, one = len(blocks(model)) - 1, torch.zeros(len(states), 1, dtype=torch.long)
    with evaluating(model), replacing(model, last, states, one[:, 0]):
        return model(input_ids=one.to(model.device), use_cache=False).logits[:, -1]

"""The choice between refusing and complying, read off the first token of a response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .chats import Wordings, token_ids
from .template_kwargs import check_tokenizer
from .thinking import thinks


@dataclass(frozen=True)
class FirstTokens:
    """Tokens that begin a refusal, and those that begin compliance.

    >>> import torch
    >>> first = FirstTokens(refusal=(0,), compliance=(1, 2))
    >>> first.log_odds(torch.tensor([[1., 0.5, -torch.inf], [0., 0., 0.]]))  # a row refuses where it is positive
    tensor([ 0.5000, -0.6931], dtype=torch.float64)
    """

    refusal: tuple[int, ...]
    """Token ids, sorted, each once."""
    compliance: tuple[int, ...]
    """Token ids, sorted, each once; none begins a refusal."""

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, refusal: Wordings, compliance: Wordings) -> FirstTokens:
        """Those of wordings, as they follow the prompt.

        Raises ValueError if there are none, one is empty, or a token begins both; and if by its chat template the model
        thinks before it answers, since its first token then begins its thoughts.
        """
        check_tokenizer(tokenizer)
        if tokenizer.chat_template and thinks(tokenizer):
            raise ValueError("by its chat template the model thinks before it answers, so that its first token is not "
                             "its choice: load it with chat_template_kwargs={'enable_thinking': False}")
        first = [sorted({ids[0] for ids in token_ids(tokenizer, wordings, name)})
                 for name, wordings in (("refusal", refusal), ("compliance", compliance))]
        both = set(first[0]) & set(first[1])
        if both:
            raise ValueError(f"refusal and compliance both have a wording that begins with "
                             f"{tokenizer.decode(min(both))!r}: pass wordings whose first tokens differ")
        return cls(*map(tuple, first))

    def log_odds(self, logits: Tensor) -> Tensor:
        """Log-odds of a refusal against compliance, in nats: float64 [...] on the CPU, from logits [..., vocab]."""
        weight = lambda ids: _chosen(logits, ids).cpu().double().logsumexp(-1)  # noqa: E731
        return weight(self.refusal) - weight(self.compliance)

    def log_odds_with_gradient(self, logits: Tensor) -> Tensor:
        """The same [...], where the logits [..., vocab] are and in their precision, so that a gradient flows back."""
        return _chosen(logits, self.refusal).logsumexp(-1) - _chosen(logits, self.compliance).logsumexp(-1)


def _chosen(logits: Tensor, ids: Sequence[int]) -> Tensor:
    return logits[..., list(ids)]

"""Negative log-likelihood, in nats: of labelled tokens over batches, and of running text window by window.

The two are no one loop. The loss of transformers is a float32 mean over a batch, whose logits it copies in float32 as
a whole; at 4,096 tokens and a large vocabulary that is more memory than the model, so windows are summed one by one,
and their last bits differ from a mean's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from transformers import PreTrainedModel

from .head import head_of, logits_at
from .load import evaluating
from .padding import IGNORED

MANY = 2 ** 24
"""Logits of a batch (64 MiB in float32) from which on those of unlabelled tokens are worth leaving out."""


@torch.no_grad()
def mean_nll(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]]) -> float:
    """Mean negative log-likelihood of the labelled tokens of all batches: nats a token.

    batches   `input_ids`, `attention_mask` and `labels`, each int64 [row, token]. The first token of a row is
              predicted from nothing, so that it does not count; nor do those labelled `IGNORED`.

    Raises ValueError if no token is labelled.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    >>> mean_nll(model, [batch]) == mean_nll(model, [batch, batch])
    True
    """
    total, tokens = 0.0, 0
    with evaluating(model):
        for batch in batches:
            n = int((batch["labels"][:, 1:] != IGNORED).sum())
            placed = {name: value.to(model.device) for name, value in batch.items()}
            total += float(labelled_nll(model, placed)) if has_many_logits(model, placed) else n * float(
                model(**placed).loss)
            tokens += n
    if not tokens:
        raise ValueError("batches hold no labelled token: pass at least one row with a label behind its first token")
    return total / tokens


def has_many_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> bool:
    """Whether logits where labels are read, and nowhere else, save more than they cost; and whether they can be had.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> has_many_logits(model, {"input_ids": torch.tensor([[5, 6, 7]])})
    False
    """
    adds_tokens = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    weight = None if adds_tokens else getattr(head_of(model), "weight", None)
    return weight is not None and batch["input_ids"].numel() * weight.shape[0] >= MANY


def labelled_nll(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Summed negative log-likelihood of the labelled tokens of one batch, in nats: float32 [], with its gradient.

    batch   As `mean_nll` has them, on the model's device. Logits of tokens whose successor has no label are not made.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    >>> torch.allclose(labelled_nll(model, batch), 2 * model(**batch).loss)
    True
    """
    following = pad(batch["labels"][:, 1:], (0, 1), value=IGNORED)  # token t predicts t + 1
    is_read = following != IGNORED
    logits = logits_at(model, {name: part for name, part in batch.items() if name != "labels"}, is_read)
    return cross_entropy(logits.float(), following[is_read], reduction="sum")


@torch.no_grad()
def summed_nll(model: PreTrainedModel, windows: Tensor) -> float:
    """Summed negative log-likelihood of all tokens but the first of each window: nats.

    windows   int64 [window, token], without padding.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> summed_nll(model, torch.tensor([[5, 6], [7, 8]])) > 0
    True
    """
    with evaluating(model):
        logits = model(input_ids=windows.to(model.device)).logits[:, :-1]
    targets = windows[:, 1:].to(logits.device)
    # Window by window: logits in float32 of a large vocabulary are many times the model's own.
    return sum(float(cross_entropy(row.float(), target, reduction="sum"))
               for row, target in zip(logits, targets, strict=True))

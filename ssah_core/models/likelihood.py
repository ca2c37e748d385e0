"""Likelihood, in nats: of labelled tokens over batches, of running text window by window, of rows token by token.

The first two are no one loop. The loss of transformers is a float32 mean over a batch, whose logits it copies in
float32 as a whole; at 4,096 tokens and a large vocabulary that is more memory than the model, so windows are summed one
by one, and their last bits differ from a mean's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from .context import check_context
from .head import head_of, logits_at
from .load import evaluating
from .padding import IGNORED, pad_columns

MANY = 2 ** 24
"""Logits of a batch (64 MiB in float32) from which on those of unlabelled tokens are worth leaving out."""
QUIET = 2
"""Seconds after which a bar is shown."""
Begun = tuple[Sequence[int], int]
"""Token ids, and the place of the first whose likelihood is asked for: 1 or more, since the first follows nothing."""


@torch.no_grad()
def mean_nll(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]]) -> float:
    """Mean negative log-likelihood of the labelled tokens of all batches: nats a token.

    batches   `input_ids`, `attention_mask` and `labels`, each int64 [row, token]. The first token of a row is
              predicted from nothing, so that it does not count; nor do those labelled `IGNORED`, of which a batch may
              be full.

    Raises ValueError if no token of any batch is labelled.

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
            if not n:
                continue  # transformers' mean over no token is NaN, and 0 * NaN is too
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


@torch.no_grad()
def token_logs(model: PreTrainedModel, rows: Sequence[Begun], fill: int, *, batch_tokens: int = 1024,
               progress: str = "") -> list[Tensor]:
    """Log-likelihood of each token of every row from its place on, given all before it: float64 [token] a row, nats.

    rows           Token ids and where to begin. Each may be as long as the model's context, no longer.
    fill           Token id that stands in padding (`pad_of`).
    batch_tokens   Rows of about one length are read together, up to so many tokens with their padding; logits of other
                   tokens than those asked for are not made.
    progress       What a bar is called, which is shown after two seconds; "": none.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> logs = token_logs(model, [([5, 6, 7], 1), ([5, 6], 1)], tokenizer.pad_token_id)
    >>> [len(row) for row in logs], torch.allclose(logs[0][:1], logs[1], atol=1e-5)
    ([2, 1], True)
    """
    longest = max((len(ids) for ids, _ in rows), default=0)
    check_context(model, longest, f"the longest row has {longest} tokens", "shorten the texts")
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    with evaluating(model), tqdm(total=len(rows), desc=progress, disable=not progress, leave=False,
                                 delay=QUIET) as bar:
        for group in _alike(rows, batch_tokens):
            for n, logs in zip(group, _logs_of(model, [rows[n] for n in group], fill), strict=True):
                found[n] = logs
            bar.update(len(group))
    return found


def _alike(rows: Sequence[Begun], batch_tokens: int) -> Iterator[list[int]]:
    """Numbers of rows in groups of about one length, the longest first."""
    group: list[int] = []
    for n in sorted(range(len(rows)), key=lambda n: -len(rows[n][0])):
        if group and (len(group) + 1) * len(rows[group[0]][0]) > batch_tokens:
            yield group
            group = []
        group.append(n)
    if group:
        yield group


def _logs_of(model: PreTrainedModel, rows: Sequence[Begun], fill: int) -> Sequence[Tensor]:
    inputs = pad_columns({"input_ids": [ids for ids, _ in rows]}, {"input_ids": fill}, device=model.device)
    at = torch.arange(inputs["input_ids"].shape[1])
    is_read = torch.stack([(at >= start - 1) & (at < len(ids) - 1) for ids, start in rows])  # token t predicts t + 1
    targets = torch.cat([inputs["input_ids"][n, start:len(ids)] for n, (ids, start) in enumerate(rows)])
    logits = logits_at(model, inputs, is_read).float()  # [token, vocabulary]
    logs = logits.gather(1, targets.to(logits.device)[:, None])[:, 0] - logits.logsumexp(1)
    return logs.double().cpu().split([len(ids) - start for ids, start in rows])

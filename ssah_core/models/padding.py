"""Rows of unlike length as one batch: every column padded to the longest row, on the right or on the left."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_kind, shown

IGNORED = -100
"""Label of a token that bears no loss (torch's convention)."""


def pad_columns(columns: Mapping[str, Sequence[Sequence[int]]], fills: Mapping[str, int], *, left: bool = False,
                device: torch.device | str | None = None) -> dict[str, Tensor]:
    """Stack columns of rows, and say in `attention_mask` what is no padding: each int64 [row, token].

    columns   Name -> rows of integers. A row is as long in every column.
    fills     Name -> what stands in the padding of that column.
    left      Pad on the left, as generation needs it; else on the right.

    Raises ValueError if a row is longer in one column than in another.

    >>> batch = pad_columns({"input_ids": [[5, 6, 7], [8]], "labels": [[-100, 6, 7], [8]]},
    ...                     {"input_ids": 0, "labels": IGNORED})
    >>> batch["labels"].tolist(), batch["attention_mask"].tolist()
    ([[-100, 6, 7], [8, -100, -100]], [[1, 1, 1], [1, 0, 0]])
    >>> pad_columns({"input_ids": [[5, 6, 7], [8]]}, {"input_ids": 0}, left=True)["input_ids"].tolist()
    [[5, 6, 7], [0, 0, 8]]
    """
    lengths = [len(row) for row in next(iter(columns.values()))]
    width = max(lengths)
    uneven = [name for name, rows in columns.items() if [len(row) for row in rows] != lengths]
    if uneven:
        raise ValueError(f"column {uneven[0]!r} has rows of other lengths than {next(iter(columns))!r}: give every "
                         "token a value in every column")

    def stack(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        gaps = ([fill] * (width - len(row)) for row in rows)
        padded = [[*gap, *row] if left else [*row, *gap] for row, gap in zip(rows, gaps, strict=True)]
        return torch.tensor(padded, dtype=torch.int64, device=device)

    return {**{name: stack(rows, fills[name]) for name, rows in columns.items()},
            "attention_mask": stack([[1] * length for length in lengths], 0)}


def pad_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """What stands in padding: the tokenizer's own token, else its end token, else 0; one that the model has.

    Nothing attends to it, but a model whose vocabulary was not made larger when a token was added cannot look it up.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> pad_of(model, tokenizer) == tokenizer.pad_token_id
    True
    """
    known = model.get_input_embeddings().weight.shape[0]
    return next((token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id)
                 if token is not None and token < known), 0)


def check_batch(model: PreTrainedModel, batch: Mapping[str, Tensor], more: Sequence[str] = ()) -> None:
    """Raise ValueError for what is no batch of a model: `input_ids` and `attention_mask`, whole numbers [row, token].

    more   What else it must have, of the same shape; a `token_mask` must be so wherever it is there.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> check_batch(model, {"input_ids": torch.tensor([[1, 2]])})
    Traceback (most recent call last):
    ValueError: a batch has no 'attention_mask' (it is {'input_ids': tensor([[1, 2]])}): pass batches such as ...
    """
    way = "pass batches such as ssah.batches gives"
    check_kind(Mapping, way, batch=batch)
    needed = ("input_ids", "attention_mask", *more)
    for name in (*needed, *({"token_mask"} & set(batch))):
        if not isinstance(batch.get(name), Tensor):
            raise ValueError(f"a batch has no {name!r} (it is {shown(dict(batch))}): {way}")
        value, like = batch[name], batch["input_ids"]
        if value.dim() != 2 or value.shape != like.shape or value.is_floating_point():
            raise ValueError(f"a batch has {name!r} of {value.dtype} and shape {tuple(value.shape)}, beside input_ids "
                             f"of {tuple(like.shape)}: {way}")
    ids, known = batch["input_ids"], model.get_input_embeddings().weight.shape[0]
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < known:
        raise ValueError(f"a batch has token ids from {int(ids.min())} to {int(ids.max())}, but the model knows 0 to "
                         f"{known - 1}: take the model's own tokenizer")


def inputs_of(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a model is called with for somebody's batch, on its device: `input_ids` and `attention_mask` [row, token].

    Where a row begins with padding, `position_ids` count from its first token on: models with learned positions (GPT-2)
    would read each of its tokens as one further on. (Models that take no positions count for themselves.)

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids, attended = torch.tensor([[0, 5, 6], [7, 8, 9]]), torch.tensor([[0, 1, 1], [1, 1, 1]])
    >>> inputs_of(model, {"input_ids": ids, "attention_mask": attended})["position_ids"].tolist()
    [[0, 0, 1], [0, 1, 2]]
    """
    attended = batch["attention_mask"].to(model.device)
    found = {"input_ids": batch["input_ids"].to(model.device), "attention_mask": attended}
    begins = attended.bool().int().argmax(1, keepdim=True)  # [row, 1]
    inner = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), model)
    if begins.any() and "position_ids" in inspect.signature(inner.forward).parameters:
        found["position_ids"] = (torch.arange(attended.shape[1], device=attended.device) - begins).clamp(min=0)
    return found

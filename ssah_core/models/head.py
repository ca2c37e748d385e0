"""The output embedding, applied where its logits are read: with a large vocabulary it is a fifth of a forward pass, and
most of its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from .hooks import uncompiled

Select = Callable[[Tensor], Tensor]
"""Final hidden states [row, token, hidden] -> those whose logits are wanted, [row', token', hidden]."""


@contextmanager
def head_reads(model: nn.Module, select: Select) -> Iterator[list[bool]]:
    """Logits of chosen tokens alone, [row', token', vocabulary], while the context lasts.

    Gives a list that is empty until the head has read what `select` returned: a model without an output embedding of
    its own gives the logits of all tokens as ever. A compiled model runs uncompiled.

    >>> import torch
    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> whole = model(input_ids=ids).logits
    >>> with head_reads(model, lambda hidden: hidden[:, -1:]):
    ...     last = model(input_ids=ids).logits
    >>> last.shape[1], torch.allclose(last[:, 0], whole[:, -1], atol=1e-5)
    (1, True)
    """
    head, read = head_of(model), []

    def chosen(module: nn.Module, args: tuple) -> tuple:
        read.append(True)
        return select(args[0]), *args[1:]

    hook = head.register_forward_pre_hook(chosen) if isinstance(head, nn.Module) else None
    try:
        with uncompiled():
            yield read
    finally:
        if hook is not None:
            hook.remove()


def head_of(model: nn.Module) -> nn.Module | None:
    """The output embedding of a model; None where it has none, or is wrapped to be spread over devices.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> head_of(model) is model.lm_head, head_of(model.lm_head)
    (True, None)
    """
    find = getattr(model, "get_output_embeddings", None)
    return find() if find else None


def no_logits(hidden: Tensor) -> Tensor:
    """A `Select` of no token, for passes of which the hidden states alone are read.

    >>> import torch
    >>> no_logits(torch.ones(2, 3, 4)).shape
    torch.Size([1, 0, 4])
    """
    return hidden[:1, :0]


def logits_at(model: nn.Module, inputs: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
    """Logits of the tokens that `chosen` [row, token] (bool) marks, in its order: [marked, vocabulary].

    >>> import torch
    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> logits_at(model, {"input_ids": ids}, ids == 6).shape == (1, model.config.vocab_size)
    True
    """
    with head_reads(model, lambda hidden: hidden[chosen.to(hidden.device)][None]) as read:
        logits = model(**inputs, use_cache=False).logits
    return logits[0] if read else logits[chosen.to(logits.device)]

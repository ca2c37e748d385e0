"""Hidden states of any Hugging Face decoder: read, or replaced, at chosen layers and tokens.

*Layer* 0 is what the first block reads (the embeddings), layer b + 1 what block b writes: the residual
stream, the last layer too. (The last of transformers' `hidden_states` comes after the final norm instead.)
*Position* counts tokens from the end of the prompt: 0 is its last token, where the model is about to
choose; -1 is the one before, 1 the first token of the response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_list, shown
from .blocks import blocks
from .chats import encode
from .context import check_context
from .hooks import must_run
from .load import evaluating
from .padding import pad_columns
from .template_kwargs import check_tokenizer

Chat = tuple[list[int], int]
"""Token ids, and where the response begins (what `models.encode` returns)."""
Queries = Sequence[str] | Sequence[Mapping]
"""Prompts: strings, or rows with a `prompt` and perhaps a `system`."""


def as_rows(queries: Queries, name: str = "queries") -> list[dict]:
    """Queries as rows. Raises ValueError if there are none, or if they are one string, one row or a table.

    >>> as_rows(["Why?", {"prompt": "How?", "system": "Be kind."}])
    [{'prompt': 'Why?'}, {'prompt': 'How?', 'system': 'Be kind.'}]
    """
    if isinstance(queries, str):
        raise ValueError(f"{name} is one string, {shown(queries)}: pass a list of prompts, such as [prompt]")
    check_list("pass a list of prompts or rows", **{name: queries})
    if hasattr(queries, "iterrows"):  # of a pandas table, the names of its columns would be the prompts
        raise ValueError(f"{name} is a {type(queries).__name__}: pass its rows, table.to_dict('records')")
    rows = [dict(row) if isinstance(row, Mapping) else {"prompt": row} for row in queries]
    if not rows:
        raise ValueError(f"{name} is empty: pass at least one prompt")
    return rows


def render(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping], with_response: bool = False) -> list[Chat]:
    """Rows through the chat template, up to where the model answers or, `with_response`, to the end of theirs.

    Raises ValueError if the tokenizer has no chat template, or a row no prompt or no response.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ((ids, start),) = render(tokenizer, [{"prompt": "Why?"}])
    >>> tokenizer.decode(ids), start == len(ids)
    ('<|begin|><|user|>Why?<|assistant|>', True)
    """
    check_tokenizer(tokenizer)
    if tokenizer.chat_template is None:
        raise ValueError("tokenizer has no chat template: load a chat model, or set tokenizer.chat_template")
    odd = next((row for row in rows if not isinstance(row.get("prompt"), str)), None)
    if odd is not None:
        raise ValueError(f"a row has no text as 'prompt' ({shown(odd)}): pass rows with a prompt, such as "
                         "ssah.load_data gives")
    odd = next((row for row in rows if with_response and not isinstance(row.get("response"), str)), None)
    if odd is not None:
        raise ValueError(f"a row has no response ({shown(odd)}): pass rows with a prompt and a response, as "
                         "ssah.complete returns them")
    return [encode(tokenizer, row["prompt"], row["response"] if with_response else None, system=row.get("system"))
            for row in rows]


def pad(model: PreTrainedModel, chats: Sequence[Chat]) -> dict[str, Tensor]:
    """Chats as `input_ids` and `attention_mask` [chat, token] on the model's device, padded on the right.

    Raises ValueError if a chat exceeds the model's context.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> chats = render(tokenizer, [{"prompt": "Why?"}, {"prompt": "How do I mend it?"}])
    >>> batch = pad(model, chats)
    >>> [len(ids) for ids, _ in chats] == batch["attention_mask"].sum(1).tolist()
    True
    """
    ids = [row for row, _ in chats]
    width = max(map(len, ids))
    check_context(model, width, f"the longest prompt with what follows it has {width} tokens",
                  "shorten the prompt, the prefill or the response")
    return pad_columns({"input_ids": ids}, {"input_ids": 0}, device=model.device)  # nothing attends to a pad's id


def columns(chats: Sequence[Chat], positions: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Where positions lie in rows padded on the right, int64 [chat, position], and whether a row has them (bool).

    >>> column, there = columns([([5, 6, 7, 8], 3)], positions=[0, 1, 2])
    >>> column.tolist(), there.tolist()
    ([[2, 3, 0]], [[True, True, False]])
    """
    column = torch.tensor([[start - 1 + position for position in positions] for _, start in chats])
    length = torch.tensor([[len(ids)] for ids, _ in chats])
    there = (column >= 0) & (column < length)
    return torch.where(there, column, 0), there


@torch.no_grad()
def read_states(model: PreTrainedModel, chats: Sequence[Chat], positions: Sequence[int],
                layers: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Hidden states of one batch of chats, in one forward pass.

    layers   Which layers; None reads all, the embeddings first.

    Returns float64 [chat, layer, position, hidden] on the CPU, and bool [chat, position]: whether the chat has that
    token (where not, the states mean nothing). No more than that is kept of the pass.
    Raises ValueError if a layer is not in the model, a chat exceeds its context, or a state is not finite.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> chats = render(tokenizer, [{"prompt": "Why?"}, {"prompt": "How do I mend it?"}])
    >>> states, there = read_states(model, chats, positions=[-1, 0])
    >>> tuple(states.shape), states.dtype, bool(there.all())
    ((2, 3, 2, 32), torch.float64, True)
    """
    layers = range(len(blocks(model)) + 1) if layers is None else layers
    batch, (column, there) = pad(model, chats), columns(chats, positions)
    states: dict[int, Tensor] = {}

    def keep(layer: int, hidden: Tensor) -> None:  # [chat, token, hidden]
        row = torch.arange(len(hidden), device=hidden.device)[:, None]
        states[layer] = hidden[row, column.to(hidden.device)].cpu().double()
        if not bool(torch.isfinite(states[layer]).all()):
            raise ValueError(f"a hidden state of layer {layer} is not finite: check the model's weights and dtype")

    with evaluating(model), observing(model, layers, keep):
        model.base_model(**batch, use_cache=False)
    return torch.stack([states[layer] for layer in layers], 1), there


def stream(model: PreTrainedModel, chats: Sequence[Chat], positions: Sequence[int], layers: Sequence[int] | None = None,
           batch_size: int = 16) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """`read_states` batch by batch: which chats, their states, and which tokens they have.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> chats = render(tokenizer, [{"prompt": "Why?"}, {"prompt": "How do I mend it?"}])
    >>> [(which.start, which.stop) for which, states, there in stream(model, chats, [0], batch_size=1)]
    [(0, 1), (1, 2)]
    """
    for at in range(0, len(chats), batch_size):
        which = slice(at, min(at + batch_size, len(chats)))
        yield which, *read_states(model, chats[which], positions, layers)


@contextmanager
def observing(model: nn.Module, layers: Iterable[int], read: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Call `read(layer, hidden)` in each forward pass, with the hidden states [row, token, hidden] of these layers.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> with observing(model, [0, 2], lambda layer, hidden: print(layer, tuple(hidden.shape))):
    ...     _ = model(input_ids=torch.tensor([[5, 6, 7]]))
    0 (1, 3, 32)
    2 (1, 3, 32)
    """
    stack = blocks(model)
    for layer in layers:
        check_layer(layer, len(stack))
    first = lambda module, args, kwargs: read(0, args[0] if args else kwargs["hidden_states"])  # noqa: E731
    watched = {f"layer {layer}": stack[max(layer - 1, 0)] for layer in layers}
    with must_run(model, watched), ExitStack() as undo:
        for layer in layers:
            hook = (stack[0].register_forward_pre_hook(first, with_kwargs=True) if layer == 0 else
                    stack[layer - 1].register_forward_hook(
                        lambda module, args, out, layer=layer: read(layer, _hidden(out))))
            undo.callback(hook.remove)
        yield


@contextmanager
def replacing(model: nn.Module, block: int, states: Tensor, column: Tensor, width: int = 0) -> Iterator[None]:
    """Put states [row, hidden] in place of what `block` writes at token `column` [row] of each row.

    width   Passes over fewer tokens are left alone: those that generate token after token, once the prompt is read.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> ids = torch.tensor([[5, 6, 7]])
    >>> plain = model(input_ids=ids).logits
    >>> with replacing(model, 1, torch.ones(1, 32), torch.tensor([2])):
    ...     changed = model(input_ids=ids).logits
    >>> (changed != plain).any(2).tolist()
    [[False, False, True]]
    """
    def replace(module, args, out):
        hidden = _hidden(out)
        if hidden.shape[1] < width:
            return out
        changed = hidden.clone()
        row = torch.arange(len(hidden), device=hidden.device)
        changed[row, column.to(hidden.device)] = states.to(hidden)
        return (changed, *out[1:]) if isinstance(out, tuple) else changed

    stack = blocks(model)
    check_layer(block + 1, len(stack))
    with must_run(model, {f"block {block}": stack[block]}), ExitStack() as undo:
        undo.callback(stack[block].register_forward_hook(replace).remove)
        yield


def _hidden(out: Tensor | tuple) -> Tensor:
    """The hidden states among what a block returns."""
    return out[0] if isinstance(out, tuple) else out


def check_layer(layer: int, n_blocks: int) -> None:
    """Raise ValueError unless `layer` is one of a model with so many blocks.

    >>> check_layer(2, n_blocks=2)
    >>> check_layer(3, n_blocks=2)
    Traceback (most recent call last):
    ValueError: layer 3 is not in this model: layers are 0 (the embeddings) to 2 (what block 1 writes)
    """
    if not 0 <= layer <= n_blocks:
        raise ValueError(f"layer {layer} is not in this model: layers are 0 (the embeddings) to {n_blocks} "
                         f"(what block {n_blocks - 1} writes)")

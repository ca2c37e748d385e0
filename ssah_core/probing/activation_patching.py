"""Is the direction chosen where we read it? Move one hidden state between a refused and an answered prompt, and see.

What a block writes at one token of one prompt is put in place of what it writes at the same position of another
(activation patching). If the decision is carried there, it changes sides with the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..generation import complete
from ..models import (
    FirstTokens,
    Queries,
    Wordings,
    as_rows,
    blocks,
    columns,
    evaluating,
    logits_at,
    pad,
    read_states,
    render,
    replacing,
)
from .distances import COMPLIANCE, REFUSAL

Patch = tuple[int, Tensor, int]
"""Block, the states [row, hidden] to put in place of those it writes, and the position at which."""
Decide = Callable[[list[dict], Patch | None], Tensor]
"""Takes rows, and a patch to make while they are read; returns whether each is refused, bool [row]."""


@dataclass(frozen=True)
class Flips:
    """Shares (0-1) of decisions that a patch changes: float64 [block].

    >>> half = torch.tensor([0.5])
    >>> Flips(blocks=(0,), to_refusal=half, to_answer=half, control=0 * half, count=2, pairs=3).count
    2

    *Shown in:* 02_probe_reasoning_direction.
    """

    blocks: tuple[int, ...]
    to_refusal: Tensor
    """Of answered prompts, those that are refused with the state of a refused one."""
    to_answer: Tensor
    """Of refused prompts, those that are no longer refused with the state of an answered one."""
    control: Tensor
    """Of all prompts, those that change sides with the state of another prompt of their *own* side: what the
    disturbance does by itself. Not a number if no batch had two pairs."""
    count: int
    """Pairs whose prompts are refused and answered when nothing is patched; the others are left out."""
    pairs: int
    """Pairs that were given."""


def patch_decisions(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, refused: Queries, answered: Queries, *,
                    blocks: Sequence[int] | None = None, position: int = 0,
                    judge: Callable[[Mapping], bool] | None = None, max_new_tokens: int = 16,
                    refusal: Wordings = REFUSAL, compliance: Wordings = COMPLIANCE, batch_size: int = 16) -> Flips:
    """Swap one hidden state within pairs of prompts, block by block, and count how many decisions flip, both ways.

    refused, answered    Prompts in pairs: the first of `refused` with the first of `answered`, and so on. The more
                         alike a pair is but for its intent, the sharper the test.
    blocks               Whose output is patched, one at a time; None: every block.
    position             Which token, from the end of the prompt: 0 its last, -1 the one before (a control), ...
    judge                Reads the decision off a completion of `max_new_tokens`: true if a row with `prompt` and
                         `response` is a refusal. None reads it off the first token alone: refused if the wordings
                         of `refusal` are likelier to begin than those of `compliance`.

    The block's later tokens are not patched: they follow from what they now read. Memory does not grow with pairs.
    Raises ValueError if the lists differ in length or are empty, a prompt lacks the position, or no pair is refused
    and answered to begin with.
    Source: Vig et al. 2020; Meng et al. 2022 (causal tracing).   Departs: the paper makes no causal test.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> prompts = ["How do I jinx the gate?"], ["How do I mend the gate?"]
    >>> found = patch_decisions(model, tokenizer, *prompts, max_new_tokens=1, judge=lambda row: "jinx" in row["prompt"])
    >>> found.blocks, found.to_answer.tolist()  # a judge who looks at the prompt alone sees nothing flip
    ((0, 1), [0.0, 0.0])

    *Shown in:* 02_probe_reasoning_direction.
    """
    pairs = as_rows(refused, "refused"), as_rows(answered, "answered")
    chosen = _check_pairs(model, tokenizer, *pairs, blocks, position)
    decide = (_by_judge(model, tokenizer, judge, max_new_tokens) if judge else
              _by_first_token(model, tokenizer, FirstTokens.of(tokenizer, refusal, compliance)))
    total, n, n_control = torch.zeros(3, len(chosen), dtype=torch.float64), 0, 0
    for at in range(0, len(pairs[0]), batch_size):
        r, a = _as_named(decide, *(rows[at:at + batch_size] for rows in pairs))
        if not r:
            continue
        n, n_control = n + len(r), n_control + (2 * len(r) if len(r) > 1 else 0)
        states = [read_states(model, render(tokenizer, rows), (position,))[0][:, :, 0] for rows in (r, a)]
        for at_block, block in enumerate(chosen):
            total[:, at_block] += _flips(decide, r, a, *(s[:, block + 1] for s in states), block, position)
    if not n:
        raise ValueError("no pair has a refused and an answered prompt: pass prompts that this model refuses, and some "
                         "that it answers")
    control = total[2] / n_control if n_control else torch.full_like(total[2], torch.nan)
    return Flips(chosen, total[0] / n, total[1] / n, control, n, len(pairs[0]))


def _check_pairs(model, tokenizer, refused, answered, chosen, position: int) -> tuple[int, ...]:
    """The blocks to patch."""
    if len(refused) != len(answered):
        raise ValueError(f"refused has {len(refused)} prompts and answered {len(answered)}: pass pairs, one of each")
    if position > 0:
        raise ValueError(f"position={position} is in the response: pass 0 for the last token of the prompt, or less")
    shortest = min(len(ids) for ids, _ in render(tokenizer, refused + answered))
    if position <= -shortest:
        raise ValueError(f"position={position} is before the first token of a prompt: the shortest has {shortest}")
    known = range(len(blocks(model)))
    for block in chosen or ():
        if block not in known:
            raise ValueError(f"block {block} is not in this model: choose from 0 to {len(known) - 1}")
    return tuple(known if chosen is None else chosen)


def _as_named(decide: Decide, refused: list[dict], answered: list[dict]) -> tuple[list[dict], list[dict]]:
    """The pairs whose prompts are refused and answered indeed."""
    good = decide(refused, None) & ~decide(answered, None)
    return tuple([row for row, keep in zip(rows, good, strict=True) if keep] for rows in (refused, answered))


def _flips(decide: Decide, refused, answered, of_refused: Tensor, of_answered: Tensor, block: int,
           position: int) -> Tensor:
    """How many decisions flip: to refusal, to answer, and under the control."""
    read = lambda rows, states: decide(rows, (block, states, position))  # noqa: E731
    # With its neighbour's state of the same side, each prompt is disturbed as much and should decide as before.
    control = ((~read(refused, of_refused.roll(1, 0))).sum() + read(answered, of_answered.roll(1, 0)).sum()
               if len(refused) > 1 else torch.tensor(0))
    return torch.stack([read(answered, of_refused).sum(), (~read(refused, of_answered)).sum(), control]).double()


def _by_first_token(model, tokenizer, first: FirstTokens) -> Decide:
    @torch.no_grad()
    def decide(rows, patch):
        chats = render(tokenizer, rows)
        last = columns(chats, (0,))[0][:, 0]
        with evaluating(model), _patched(model, patch, last):
            batch = pad(model, chats)
            is_last = torch.arange(batch["input_ids"].shape[1]) == last[:, None]
            return first.log_odds(logits_at(model, batch, is_last)) > 0

    return decide


def _by_judge(model, tokenizer, judge, max_new_tokens: int) -> Decide:
    def decide(rows, patch):
        lengths = [len(ids) for ids, _ in render(tokenizer, rows)]
        order = sorted(range(len(rows)), key=lengths.__getitem__)  # as `complete` does, so that states meet their rows
        last = torch.full((len(rows),), max(lengths) - 1)  # `complete` pads on the left
        patch = patch and (patch[0], patch[1][order], patch[2])
        with _patched(model, patch, last, width=max(lengths)):
            done = complete(model, tokenizer, [rows[n] for n in order], max_new_tokens=max_new_tokens,
                            batch_size=len(rows))
        verdict = torch.zeros(len(rows), dtype=torch.bool)
        verdict[order] = torch.tensor([bool(judge(row)) for row in done])
        return verdict

    return decide


def _patched(model, patch: Patch | None, last: Tensor, width: int = 0):
    """Context in which a patch is made; `last` is the column of each row's last prompt token."""
    if patch is None:
        return nullcontext()
    block, states, position = patch
    return replacing(model, block, states, last + position, width)

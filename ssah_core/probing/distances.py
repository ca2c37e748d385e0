"""Is the model on the way to fulfil or to refuse? The paper's distances (Fig. 2, 3, 4, 7), and what they leave out.

The paper appends the first tokens of a refusal or of compliance to a query and asks which of the two the
hidden state of the query is nearer to. That also depends on which tokens are appended, so beside it stand
`intent_residual`, from which the effect of the tokens as such is removed. Both are means over queries, summed
batch by batch: memory does not grow with their number. What the model would *say* is asked in
`ssah_core.probing.logit_lens`.
The tokens can also be put into the query itself: then both states are those of one and the same token.
Layers and positions are those of `ssah_core.models.hidden_states`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_choice, check_counts, check_filled, check_kind
from ..models import Queries, Wordings, as_rows, read_states, render, token_ids
from ..units import Moments

REFUSAL = "Sorry, I can't help you with that request, because it could harm other people."
COMPLIANCE = "Here's how you can do that, step by step: first of all, take what you need."
LENGTHS = (2, 4, 6, 8, 10)
"""Tokens of a refusal or of compliance that the paper appends (Fig. 2)."""
Read = Callable[[list[dict], list[int]], tuple[Tensor, Tensor]]
"""Takes rows and a prefix; returns states of the queries [query, layer, 1, hidden] and after its first tokens
[query, layer, length, hidden]."""


@dataclass(frozen=True)
class Distances:
    """Cosine distances (0-2) from queries to themselves with a prefix: float64 [layer, length], means over queries.

    >>> far, near = torch.full((1, 1, 1), 0.5), torch.full((1, 1, 1), 0.25)  # [wording, layer, length]
    >>> Distances((2,), Moments(1, {"refusal": near, "compliance": far, "gap": far[0] - near[0]}, {})).gap
    tensor([[0.2500]])

    *Shown in:* 02_probe_reasoning_direction.
    """

    lengths: tuple[int, ...]
    """Tokens of the prefix."""
    moments: Moments
    """Over queries: "refusal" and "compliance" [wording, layer, length], "gap" and "nearer" [layer, length]."""

    @property
    def refusal(self) -> Tensor:
        """Distance to the query followed by a refusal, mean over the wordings."""
        return self.moments.mean["refusal"].mean(0)

    @property
    def compliance(self) -> Tensor:
        """Distance to the query followed by compliance, mean over the wordings."""
        return self.moments.mean["compliance"].mean(0)

    @property
    def gap(self) -> Tensor:
        """Compliance minus refusal. Positive: the refusal is nearer, as the paper finds in aligned models."""
        return self.moments.mean["gap"]

    @property
    def gap_error(self) -> Tensor:
        """Standard error of the gap over queries (infinite for one)."""
        return standard_error(self.moments, "gap")

    @property
    def nearer(self) -> Tensor:
        """Share (0-1) of queries to which the refusal is nearer."""
        return self.moments.mean["nearer"]

    @property
    def count(self) -> int:
        """Number of queries."""
        return self.moments.count


def reasoning_direction(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, queries: Queries, *,
                        refusal: Wordings = REFUSAL, compliance: Wordings = COMPLIANCE,
                        lengths: Sequence[int] = LENGTHS, place: str = "response", batch_size: int = 16) -> Distances:
    """How far every query is from itself followed by the first tokens of a refusal, and of compliance.

    queries               Strings, or rows with a `prompt` (and perhaps a `system`).
    refusal, compliance   Text of a response, or several wordings; the distance is the mean over wordings.
    lengths               How many of its tokens are appended, one distance each.
    place                 "response": they begin the response. "query": they follow the text of the query, after a
                          space, before the template ends the user's turn.

    The distance is 1 - cos, for each layer, between the hidden states of the last token of the rendered prompt and of
    the last appended token ("response") or of the longer prompt's own last token ("query"). In the response, layer 0
    holds no more than which token comes last: it is the part of the distance that is not about the model's direction
    at all. In the query that part is 0, since with most templates both are the same token.
    Raises ValueError if there are no queries, a wording has fewer tokens than asked for, a query with its prefix
    exceeds the context, `place` is another, or there is no chat template.
    Source: Sec. 2, Fig. 2, 3, 4, 7.   Departs: the paper does not say where the tokens are put, which token's state is
    compared, nor whether the chat template is used; ours is the last one, with the template.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> found = reasoning_direction(model, tokenizer, ["How do I jinx the gate?", "How do I mend it?"], lengths=(2, 4))
    >>> tuple(found.gap.shape), found.count  # [layer, length]: the embeddings and two blocks
    ((3, 2), 2)
    >>> 0 <= found.refusal.min() <= found.refusal.max() <= 2
    tensor(True)

    *Shown in:* 02_probe_reasoning_direction.
    """
    check_counts(batch_size=batch_size)
    rows, read = as_rows(queries), _reader(model, tokenizer, place, lengths)
    return _distances(read, rows, _prefixes(tokenizer, refusal, compliance, lengths), lengths, batch_size)


def intent_residual(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, queries: Queries, benign: Queries, *,
                    refusal: Wordings = REFUSAL, compliance: Wordings = COMPLIANCE,
                    lengths: Sequence[int] = LENGTHS, place: str = "response", batch_size: int = 16) -> Distances:
    """`reasoning_direction` without the effect that the same tokens have on any query.

    benign   Queries whose intent is harmless: the mean shift of the hidden state that a prefix causes on them is
             subtracted from every prefixed state of `queries` before the distance is taken.

    If only the tokens mattered, nothing but noise would be left. For the size of that noise, pass other benign
    queries as `queries`. The other arguments, the result and the errors are those of `reasoning_direction`.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> query = ["How do I jinx the gate?"]
    >>> found = intent_residual(model, tokenizer, query, benign=query, lengths=(2, 4))
    >>> found.refusal.abs().max() < 1e-9  # held against itself, nothing is left of a query
    tensor(True)

    *Shown in:* 02_probe_reasoning_direction.
    """
    rows, plain, read = as_rows(queries), as_rows(benign, "benign"), _reader(model, tokenizer, place, lengths)
    wordings = _prefixes(tokenizer, refusal, compliance, lengths)
    shifts = {side: [_mean_shift(read, plain, prefix, batch_size) for prefix in prefixes]
              for side, prefixes in wordings.items()}
    return _distances(read, rows, wordings, lengths, batch_size, shifts)


def _reader(model, tokenizer, place: str, lengths: Sequence[int]) -> Read:
    check_kind(nn.Module, "pass a model, such as ssah.load gives", model=model)
    readers = {"response": _in_response, "query": _in_query}
    check_choice(readers, place=place)
    return partial(readers[place], model, tokenizer, lengths)


def _in_response(model, tokenizer, lengths, rows: list[dict], prefix: list[int]) -> tuple[Tensor, Tensor]:
    chats = [(ids + prefix, start) for ids, start in render(tokenizer, rows)]
    states, _ = read_states(model, chats, (0, *lengths))
    return states[:, :, :1], states[:, :, 1:]


def _in_query(model, tokenizer, lengths, rows: list[dict], prefix: list[int]) -> tuple[Tensor, Tensor]:
    texts = [tokenizer.decode(prefix[:n]).strip() for n in lengths]
    longer = [[{**row, "prompt": f"{row['prompt']} {text}"} for row in rows] for text in texts]
    query, *after = [read_states(model, render(tokenizer, asked), (0,))[0] for asked in (rows, *longer)]
    return query, torch.cat(after, 2)


def _prefixes(tokenizer, refusal: Wordings, compliance: Wordings, lengths: Sequence[int]) -> dict[str, list[list[int]]]:
    """Token ids of every wording, cut to the longest prefix."""
    check_filled("pass numbers of tokens, each at least 1", lengths=lengths)
    for length in lengths:
        check_counts(lengths=length)
    sides = {side: token_ids(tokenizer, wordings, side)
             for side, wordings in (("refusal", refusal), ("compliance", compliance))}
    for side, wordings in sides.items():
        for ids in wordings:
            if len(ids) < max(lengths):
                raise ValueError(f"{side} wording {tokenizer.decode(ids)!r} has {len(ids)} tokens but lengths asks for "
                                 f"{max(lengths)}: pass a longer wording or shorter lengths")
    return {side: [ids[:max(lengths)] for ids in wordings] for side, wordings in sides.items()}


def _mean_shift(read: Read, rows: list[dict], prefix: list[int], batch_size: int) -> Tensor:
    """What a prefix adds to the hidden state of a query, mean over queries: float64 [layer, length, hidden]."""
    total = 0
    for at in range(0, len(rows), batch_size):
        query, after = read(rows[at:at + batch_size], prefix)
        total = total + (after - query).sum(0)
    return total / len(rows)


def _distances(read: Read, rows: list[dict], wordings: Mapping[str, list[list[int]]], lengths, batch_size: int,
               shifts: Mapping[str, list[Tensor]] | None = None) -> Distances:
    total = None
    for at in range(0, len(rows), batch_size):
        batch, found = rows[at:at + batch_size], {}
        for side, prefixes in wordings.items():
            each = [_distance(*read(batch, prefix), shifts[side][n] if shifts else 0)
                    for n, prefix in enumerate(prefixes)]
            found[side] = torch.stack(each, 1)  # [query, wording, layer, length]
        gap = found["compliance"].mean(1) - found["refusal"].mean(1)
        moments = moments_of({**found, "gap": gap, "nearer": (gap > 0).double()})
        total = total + moments if total else moments
    return Distances(tuple(lengths), total)


def _distance(query: Tensor, after: Tensor, shift: Tensor | int) -> Tensor:
    return 1 - torch.cosine_similarity(query, after - shift, dim=-1)  # [query, layer, length]


def moments_of(values: Mapping[str, Tensor]) -> Moments:
    """Moments over the first dimension of measurements [query, ...].

    >>> moments_of({"gap": torch.tensor([1.0, 3.0])}).squares["gap"]
    tensor(2.)

    *Shown in:* 02_probe_reasoning_direction.
    """
    mean = {name: value.mean(0) for name, value in values.items()}
    return Moments(len(next(iter(values.values()))), mean,
                   {name: (value - mean[name]).square().sum(0) for name, value in values.items()})


def standard_error(moments: Moments, name: str) -> Tensor:
    """Standard error of a mean over queries; infinite for one query.

    >>> standard_error(moments_of({"gap": torch.tensor([1.0, 3.0])}), "gap")
    tensor(1.)

    *Shown in:* 02_probe_reasoning_direction.
    """
    if moments.count < 2:
        return torch.full_like(moments.mean[name], torch.inf)
    return (moments.squares[name] / (moments.count - 1) / moments.count).sqrt()

"""Linear probes: can fulfil-or-refuse be read off a hidden state, where, and is that more than memory?

A probe is linear discriminant analysis in closed form: w = S^-1 (m1 - m0), with the pooled covariance S of the
standardised states shrunk towards the identity. It needs counts, sums and second moments alone, in float64, so
memory does not grow with the number of prompts; it takes hidden^2 numbers for every layer and position asked for.
Layers and positions are those of `ssah_core.models.hidden_states`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..models import as_rows, blocks, render, stream

POSITIONS = tuple(range(-8, 9))
"""The last nine tokens of the prompt (with its template) and the first eight of the response."""


@dataclass(frozen=True)
class Readout:
    """A direction in one layer's hidden states: h -> weight . h + bias, positive for "refuse"."""

    layer: int
    weight: Tensor
    """float64 [hidden]"""
    bias: float

    def __call__(self, states: Tensor) -> Tensor:
        """Signal of each state: [...] from [..., hidden]."""
        return states @ self.weight.to(states) + self.bias

    def save(self, path: str | Path) -> None:
        """Write the read-out as safetensors."""
        save_file({"weight": self.weight, "bias": torch.tensor([self.bias], dtype=torch.float64)}, path,
                  metadata={"ssah": "Readout", "layer": str(self.layer)})

    @classmethod
    def load(cls, path: str | Path) -> Readout:
        """Read a read-out that `save` wrote."""
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("ssah") != "Readout":
                raise ValueError(f"{path} holds no read-out: pass a file that Readout.save wrote")
            return cls(int(file.metadata()["layer"]), file.get_tensor("weight"), float(file.get_tensor("bias")))


@dataclass(frozen=True)
class Probes:
    """How well a linear probe reads fulfil-or-refuse at each layer and position: float64 [layer, position].

    Not a number where the rows of one class have no token at a position.
    """

    layers: tuple[int, ...]
    positions: tuple[int, ...]
    accuracy: Tensor
    """Mean of the shares (0-1) of refused and of fulfilled held-out rows that are told right; chance is 0.5."""
    control: Tensor
    """The same for the control task: labels drawn at random for each type of row."""
    weight: Tensor
    """[layer, position, hidden]"""
    bias: Tensor

    @property
    def selectivity(self) -> Tensor:
        """Accuracy minus that of the control task: what the states tell beyond what a probe can memorise."""
        return self.accuracy - self.control

    def readout(self, layer: int, position: int) -> Readout:
        """The probe of a layer and position. Raises ValueError if it was not trained."""
        if layer not in self.layers or position not in self.positions:
            raise ValueError(f"layer {layer} at position {position} has no probe: choose from layers {self.layers} and "
                             f"positions {self.positions}")
        at = self.layers.index(layer), self.positions.index(position)
        if self.weight[at].isnan().any():
            raise ValueError(f"layer {layer} at position {position} has no probe: a class has no row with such a "
                             "token, so choose another position")
        return Readout(layer, self.weight[at], float(self.bias[at]))


def linear_probe(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping],
                 labels: Sequence[bool], *, test: Sequence[Mapping], test_labels: Sequence[bool],
                 layers: Sequence[int] | None = None, positions: Sequence[int] = POSITIONS,
                 types: Callable[[Mapping], Hashable] = lambda row: row["prompt"], ridge: float = 0.1, seed: int = 0,
                 batch_size: int = 16) -> Probes:
    """Train one probe a layer and position to tell refuse from fulfil, and test it on held-out rows.

    rows, test            Rows with `prompt` and `response` (the latter is read, not generated) for training and test.
    labels, test_labels   True where the row is of the class "refuse".
    types                 Type of a row, for the control task (Hewitt & Liang 2019): each type gets a random label,
                          the same in training and test. Pass what recurs in both and could be memorised, such as
                          the verb of a request; with prompts, which do not recur, the control is plain chance.
    ridge                 Share (0-1) of the identity in the covariance of standardised states.

    Raises ValueError if there are no rows, labels do not match them, or training or test has one class alone.
    Departs: the paper trains no probe; its reviewers asked for one.
    """
    layers = tuple(range(len(blocks(model)) + 1) if layers is None else layers)
    truth, held = _labels(rows, labels, "rows"), _labels(test, test_labels, "test")
    drawn = _control_labels([types(row) for row in rows], [types(row) for row in test], seed)
    where = (layers, tuple(positions), batch_size)
    total = _ClassMoments.collect(model, render(tokenizer, as_rows(rows, "rows"), True), (truth, drawn[0]), *where)
    fits = [total.fit(task, ridge) for task in (0, 1)]
    right = _accuracy(model, render(tokenizer, as_rows(test, "test"), True), fits, (held, drawn[1]), *where)
    return Probes(layers, tuple(positions), *right, *fits[0])


def fit_readout(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping],
                labels: Sequence[bool], *, layer: int, positions: Sequence[int] = tuple(range(9)), ridge: float = 0.1,
                batch_size: int = 16) -> Readout:
    """One direction for a layer and many positions together, to be read off the prompt's end and any token after.

    rows     Rows with `prompt` and `response`. For a signal that turns in the midst of a harmful response, rows to
             refuse need such responses too, not refusals alone.
    labels   True where the row should be refused.
    """
    truth = _labels(rows, labels, "rows")
    total = _ClassMoments.collect(model, render(tokenizer, as_rows(rows, "rows"), True), (truth,), (layer,),
                                  tuple(positions), batch_size, pooled=True)
    weight, bias = total.fit(0, ridge)
    return Readout(layer, weight[0, 0], float(bias[0, 0]))


def signals(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, readout: Readout, rows: Sequence[Mapping],
            positions: Sequence[int] = tuple(range(9)), batch_size: int = 16) -> Tensor:
    """A read-out's signal on rows with `prompt` and `response`: float64 [row, position], not a number past the end."""
    chats = render(tokenizer, as_rows(rows, "rows"), True)
    return torch.cat([torch.where(there, readout(states[:, 0]), torch.nan) for _, states, there
                      in stream(model, chats, positions, (readout.layer,), batch_size)])


def _labels(rows: Sequence[Mapping], labels: Sequence[bool], name: str) -> Tensor:
    rows, truth = as_rows(rows, name), torch.tensor([bool(label) for label in labels])
    if len(truth) != len(rows):
        raise ValueError(f"{name} has {len(rows)} rows but {len(truth)} labels: pass one label a row")
    if not truth.any() or truth.all():
        raise ValueError(f"{name} holds one class alone: pass rows to refuse (label True) and to fulfil (False)")
    return truth


def _control_labels(types: Sequence[Hashable], test_types: Sequence[Hashable], seed: int) -> tuple[Tensor, Tensor]:
    """A random label for every type, true for half of them: bool [row] of training and test."""
    known = sorted(set(types) | set(test_types), key=repr)
    chosen = set(Random(seed).sample(known, len(known) // 2))
    return torch.tensor([kind in chosen for kind in types]), torch.tensor([kind in chosen for kind in test_types])


@dataclass
class _ClassMoments:
    """Sums over rows, which do not grow with their number."""

    count: Tensor
    """[task, class, position]"""
    sums: Tensor
    """[task, class, layer, position, hidden]"""
    second: Tensor
    """Sum of outer products, the same for all tasks: [layer, position, hidden, hidden]."""

    @classmethod
    def collect(cls, model, chats, tasks: Sequence[Tensor], layers, positions, batch_size: int,
                pooled: bool = False) -> _ClassMoments:
        total = cls(0, 0, 0)
        for which, states, there in stream(model, chats, positions, layers, batch_size):
            labels = torch.stack([task[which] for task in tasks])
            if pooled:  # every token is a row of its own
                labels = labels.repeat_interleave(states.shape[2], 1)
                states, there = states.transpose(1, 2).flatten(0, 1)[:, :, None], there.reshape(-1, 1)
            total.add(states, there, labels)
        return total

    def add(self, states: Tensor, there: Tensor, labels: Tensor) -> None:
        """States [row, layer, position, hidden], which of them count [row, position], labels [task, row]."""
        member = (torch.stack([~labels, labels], 1)[..., None] & there).double()  # [task, class, row, position]
        counted = states * there[:, None, :, None]
        self.count = self.count + member.sum(2)
        self.sums = self.sums + torch.einsum("tcrp,rlph->tclph", member, states)
        self.second = self.second + torch.einsum("rlph,rlpk->lphk", counted, counted)

    def fit(self, task: int, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights [layer, position, hidden] and biases [layer, position] of the discriminants."""
        count = self.count[task]  # [class, position]
        means = self.sums[task] / count[:, None, :, None]  # [class, layer, position, hidden]
        free = (count.sum(0) - 2).clamp_min(1)[:, None]  # degrees of freedom [position, 1]
        within = (self.second - torch.einsum("cp,clph,clpk->lphk", count, means, means)) / free[..., None]
        rounding = 1e-12 * self.second.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True) / free
        spread = within.diagonal(dim1=-2, dim2=-1).clamp_min(rounding).sqrt()  # what rounding does is no variance
        correlation = within / (spread[..., :, None] * spread[..., None, :])
        shrunk = (1 - ridge) * correlation + ridge * torch.eye(correlation.shape[-1], dtype=torch.float64)
        weight = _solve(shrunk, (means[1] - means[0]) / spread) / spread
        return weight, -(weight * means.mean(0)).sum(-1)


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix^-1 vector; not a number where the matrix is not (a class without rows)."""
    good = matrix.isfinite().flatten(-2).all(-1) & vector.isfinite().all(-1)
    out = torch.full_like(vector, torch.nan)
    out[good] = torch.linalg.solve(matrix[good], vector[good])
    return out


def _accuracy(model, chats, fits, tasks: Sequence[Tensor], layers, positions, batch_size) -> list[Tensor]:
    """Mean over the two classes of the share told right, for each task: [layer, position]."""
    right, count = [0] * len(fits), [0] * len(fits)
    for which, states, there in stream(model, chats, positions, layers, batch_size):
        for task, ((weight, bias), labels) in enumerate(zip(fits, tasks, strict=True)):
            signal = torch.einsum("rlph,lph->rlp", states, weight) + bias
            of_class = torch.stack([~labels[which], labels[which]])[:, :, None] & there  # [class, row, position]
            told = torch.stack([-signal, signal]).sign() / 2 + 0.5  # [class, row, layer, position], half for no signal
            hit = told * of_class[:, :, None]
            right[task], count[task] = right[task] + hit.sum(1), count[task] + of_class.double().sum(1)
    shares = [r / c[:, None] for r, c in zip(right, count, strict=True)]
    return [torch.where(weight.isnan().any(-1), torch.nan, share.mean(0))
            for share, (weight, _) in zip(shares, fits, strict=True)]

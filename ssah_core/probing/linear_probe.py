"""Linear probes: can fulfil-or-refuse be read off a hidden state, where, and is that more than memory?

A probe is scikit-learn's linear discriminant analysis of standardised states, with the covariance shrunk towards the
identity (`ssah_core.probing.discriminant`). Layers and positions are those of `ssah_core.models.hidden_states`.
Memory: the states of all rows at one layer are held at once, rows x positions x hidden numbers of 8 bytes: 285 MB for
512 rows at 17 positions of a 7B model. Several layers are read in one pass where they fit in `ROOM`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_paths
from ..models import as_rows, blocks, render, stream
from ..records.own_files import put
from .discriminant import discriminant

POSITIONS = tuple(range(-8, 9))
"""The last nine tokens of the prompt (with its template) and the first eight of the response."""
ROOM = 2**31
"""Bytes of states that are held at once, if one layer needs no more."""


@dataclass(frozen=True)
class Readout:
    """A direction in one layer's hidden states: h -> weight . h + bias, positive for "refuse".

    >>> readout = Readout(1, torch.tensor([1.0, -1.0], dtype=torch.float64), bias=0.5)
    >>> readout(torch.tensor([[3.0, 1.0], [0.0, 4.0]]))
    tensor([ 2.5000, -3.5000])

    *Shown in:* 08_re_evaluate_direction.
    """

    layer: int
    weight: Tensor
    """float64 [hidden]"""
    bias: float

    def __call__(self, states: Tensor) -> Tensor:
        """Signal of each state: [...] from [..., hidden]."""
        return states @ self.weight.to(states) + self.bias

    def save(self, path: str | Path) -> None:
        """Write the read-out as safetensors. Raises ValueError if a file is there that ssah did not write.

        >>> Readout(1, torch.ones(2, dtype=torch.float64), bias=0.5).save("readout.safetensors")
        >>> Readout.load("readout.safetensors").bias
        0.5
        """
        parts = {"weight": self.weight, "bias": torch.tensor([self.bias], dtype=torch.float64)}
        put(path, save(parts, metadata={"ssah": "Readout", "layer": str(self.layer)}))

    @classmethod
    def load(cls, path: str | Path) -> Readout:
        """Read a read-out that `save` wrote. Raises ValueError for another file."""
        check_paths(path=path)
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                weight, bias = file.get_tensor("weight").clone(), file.get_tensor("bias")
                found = cls(int(about["layer"]), weight, float(bias)) if about.get("ssah") == "Readout" else None
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{path} holds no whole read-out ({str(error):.80}): pass a file that Readout.save wrote"
                             ) from error
        if found is None or weight.dim() != 1 or weight.dtype != torch.float64 or not torch.isfinite(weight).all():
            raise ValueError(f"{path} holds no read-out: pass a file that Readout.save wrote")
        return found


@dataclass(frozen=True)
class Probes:
    """How well a linear probe reads fulfil-or-refuse at each layer and position: float64 [layer, position].

    Not a number where the rows of one class have no token at a position.

    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> Probes((2,), (0,), 0.9 * one, 0.6 * one, weight=one[..., None], bias=one).selectivity.round(decimals=1)
    tensor([[0.3000]], dtype=torch.float64)

    *Shown in:* 02_probe_reasoning_direction.
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

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> verbs = ("jinx", "mend", "hex", "oil")
    >>> rows = [{"prompt": f"How do I {verb} the gate?", "response": "Sure."} for verb in verbs]
    >>> labels = [True, False, True, False]
    >>> found = linear_probe(model, tokenizer, rows, labels, test=rows, test_labels=labels, positions=(-1, 0))
    >>> tuple(found.accuracy.shape), found.accuracy.max().item()  # [layer, position], on what was learned from
    ((3, 2), 1.0)

    *Shown in:* 02_probe_reasoning_direction.
    """
    layers = tuple(range(len(blocks(model)) + 1) if layers is None else layers)
    truth, held = _labels(rows, labels, "rows"), _labels(test, test_labels, "test")
    drawn = _control_labels([types(row) for row in rows], [types(row) for row in test], seed)
    where = (layers, tuple(positions), batch_size)
    fits = _fits(model, render(tokenizer, as_rows(rows, "rows"), True), (truth, drawn[0]), *where, ridge)
    right = _accuracy(model, render(tokenizer, as_rows(test, "test"), True), fits, (held, drawn[1]), *where)
    return Probes(layers, tuple(positions), *right, *fits[0])


def fit_readout(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping],
                labels: Sequence[bool], *, layer: int, positions: Sequence[int] = tuple(range(9)), ridge: float = 0.1,
                batch_size: int = 16) -> Readout:
    """One direction for a layer and many positions together, to be read off the prompt's end and any token after.

    rows     Rows with `prompt` and `response`. For a signal that turns in the midst of a harmful response, rows to
             refuse need such responses too, not refusals alone.
    labels   True where the row should be refused.

    Raises ValueError if there are no rows, labels do not match them, or they are of one class alone.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> verbs = ("jinx", "mend", "hex", "oil")
    >>> rows = [{"prompt": f"How do I {verb} the gate?", "response": "Sure."} for verb in verbs]
    >>> readout = fit_readout(model, tokenizer, rows, [True, False, True, False], layer=1, positions=(0,))
    >>> (signals(model, tokenizer, readout, rows, positions=(0,)) > 0).flatten().tolist()
    [True, False, True, False]

    *Shown in:* 08_re_evaluate_direction.
    """
    truth = _labels(rows, labels, "rows")
    states, there = _collect(model, render(tokenizer, as_rows(rows, "rows"), True), (layer,), positions, batch_size)
    weight, bias = discriminant(states[:, 0][there], truth[:, None].expand_as(there)[there], ridge)
    return Readout(layer, weight, bias)


def signals(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, readout: Readout, rows: Sequence[Mapping],
            positions: Sequence[int] = tuple(range(9)), batch_size: int = 16) -> Tensor:
    """A read-out's signal on rows with `prompt` and `response`: float64 [row, position], not a number past the end.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> readout = Readout(1, torch.ones(32, dtype=torch.float64), bias=0.0)
    >>> signals(model, tokenizer, readout, [{"prompt": "How?", "response": "1"}], positions=(0, 1, 9)).isnan()
    tensor([[False, False,  True]])

    *Shown in:* 08_re_evaluate_direction.
    """
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


def _fits(model, chats, tasks: Sequence[Tensor], layers, positions, batch_size: int,
          ridge: float) -> list[tuple[Tensor, Tensor]]:
    """Of each task, weights [layer, position, hidden] and biases [layer, position] of its discriminants."""
    found: list[list[tuple[Tensor, float]]] = [[] for _ in tasks]
    for some in _in_room(layers, len(chats) * len(positions) * model.config.get_text_config().hidden_size * 8):
        states, there = _collect(model, chats, some, positions, batch_size)
        for layer in range(len(some)):
            for at, has in enumerate(there.T):
                for fits, labels in zip(found, tasks, strict=True):
                    fits.append(discriminant(states[has, layer, at], labels[has], ridge))
    shape = (len(layers), len(positions))
    return [(torch.stack([weight for weight, _ in fits]).unflatten(0, shape),
             torch.tensor([bias for _, bias in fits], dtype=torch.float64).unflatten(0, shape)) for fits in found]


def _in_room(layers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Layers in groups whose states, `size` bytes a layer, fit in `ROOM` together; each is at least one layer."""
    step = max(1, ROOM // size)
    yield from (layers[at:at + step] for at in range(0, len(layers), step))


def _collect(model, chats, layers, positions, batch_size: int) -> tuple[Tensor, Tensor]:
    """Hidden states of all chats, float64 [row, layer, position, hidden], and the tokens they have [row, position]."""
    _, states, there = zip(*stream(model, chats, positions, layers, batch_size), strict=True)
    return torch.cat(states), torch.cat(there)


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

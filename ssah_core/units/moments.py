"""Exact moments of every unit's activation.

Activations X_j are the inputs of a site's reader B (the input of `down_proj` and of `o_proj`), read
in one forward pass over a calibration set. Padding and tokens that the batch masks out do not count.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..arguments import check_choice, check_counts, check_kind, check_list, shown
from ..models import (
    as_rows,
    check_batch,
    check_context,
    evaluating,
    head_reads,
    inputs_of,
    must_run,
    no_logits,
    pad_columns,
    render,
    thinks,
)
from . import files, show
from .check_units import known_units
from .unit_map import UnitMap

TOKENS = ("response", "prompt", "last_prompt", "all")
TOKENS_AT_ONCE, UNITS_AT_ONCE = 1024, 384
"""Of activations that are cast to float64 at a time: few enough to stay in a processor's cache, and enough to share."""
FORM = files.Form("Moments", "moments", ("mean", "squares"), torch.float64)


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of every unit's activation: float64 [unit] a site.

    `m1 + m2` are the moments of both sets together, exactly (Chan et al. 1979), so they can be
    gathered over batches, runs and processes. `save` keeps them.

    Raises ValueError where moments of different models are added, and for the variance of one token.

    >>> x = torch.tensor([[1.], [3.], [5.]], dtype=torch.float64)  # [token, unit]
    >>> of = lambda x: ssah.Moments(len(x), {"mlp.0": x.mean(0)}, {"mlp.0": (x - x.mean(0)).square().sum(0)})
    >>> total = of(x[:1]) + of(x[1:])
    >>> total
    <Moments of 3 tokens at 1 units (mlp 1)>
    >>> total.mean["mlp.0"].item(), total.variance["mlp.0"].item()
    (3.0, 4.0)
    >>> total.save("moments.safetensors", about={"model": "a toy", "calibration": "three tokens"})
    >>> ssah.Moments.load("moments.safetensors").count
    3

    *Shown in:* 10_real_checkpoints.
    """

    count: int
    """Number of tokens."""
    mean: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]
    """Sum over tokens of (x - mean)^2."""

    def __post_init__(self):
        check_counts(0, count=self.count)
        for name, part in {"mean": self.mean, "squares": self.squares}.items():
            check_kind(Mapping, "pass a mapping of site -> tensor, as collect gives", **{name: part})
            wrong = next((value for value in part.values() if not isinstance(value, Tensor)), None)
            if wrong is not None:
                raise ValueError(f"{name} holds {shown(wrong)}: pass a tensor for each site")

    @property
    def sizes(self) -> dict[str, int]:
        return {site: len(mean) for site, mean in self.mean.items()}

    @property
    def variance(self) -> dict[str, Tensor]:
        """Sample variance, 1/(N-1) sum (x - mean)^2: float64 [unit] a site."""
        if self.count < 2:
            raise ValueError(f"{self.count} token has no variance: collect at least two, from more or longer examples")
        return {site: squares / (self.count - 1) for site, squares in self.squares.items()}

    def __add__(self, other: Moments) -> Moments:
        check_kind(Moments, "pass what collect gives", other=other)
        if self.sizes != other.sizes:
            raise ValueError("moments are of different models: add only moments with the same sites and units")
        count = self.count + other.count
        shift = {site: other.mean[site] - mean for site, mean in self.mean.items()}
        return Moments(
            count,
            {site: mean + shift[site] * (other.count / count) for site, mean in self.mean.items()},
            {site: squares + other.squares[site] + shift[site] ** 2 * (self.count * other.count / count)
             for site, squares in self.squares.items()})

    def save(self, path: str | Path, about: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write the moments as safetensors, with what they are of, as `UnitMask.save` does."""
        files.write(path, FORM, {"mean": self.mean, "squares": self.squares}, {"count": self.count}, about)

    @classmethod
    def load(cls, path: str | Path) -> Moments:
        """Read moments that `save` wrote. Raises ValueError if the file is no such file, or not whole."""
        parts, facts = files.read(path, FORM)
        count = facts.get("count")
        if type(count) is not int or count < 0 or any(bool((part < 0).any()) for part in parts["squares"].values()):
            raise ValueError(f"{path} has a negative count or sum of squares: save moments that `collect` has gathered")
        return cls(count, parts["mean"], parts["squares"])

    def __repr__(self) -> str:
        return f"<Moments of {self.count:,} tokens at {show.counts_by_kind(self.sizes)}>"

    def _repr_html_(self) -> str:
        varying = {site: int((squares > 0).sum()) for site, squares in self.squares.items()}
        return show.table_by_block(f"Moments of {self.count:,} tokens: units that vary", varying, self.sizes)


def batches(examples: Sequence[Mapping], tokenizer: PreTrainedTokenizerBase, tokens: str = "response",
            batch_size: int = 64) -> list[dict[str, Tensor]]:
    """Render and pad examples for `collect`.

    examples   Rows with `prompt`, `response` (not needed for "prompt" and "last_prompt"), optional `system`.
    tokens     Which tokens count: the "response" with its end, the "prompt" with its template, the
               "last_prompt" token alone (where the model is about to choose), or "all".

    Returns dicts of `input_ids`, `attention_mask` and `token_mask`, each [batch, token], padded on the right.
    Raises ValueError if there are no examples, one has no prompt or no response that is needed, or `tokens` is unknown;
    warns if by the chat template the model thinks before it answers.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> [batch] = ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer)
    >>> sorted(batch), batch["input_ids"].shape == batch["token_mask"].shape
    (['attention_mask', 'input_ids', 'token_mask'], True)
    >>> batch["token_mask"][0, -1].item(), batch["token_mask"][0, 0].item()  # the response counts, the template not
    (True, False)

    *Shown in:* 00_start_here.
    """
    check_choice(TOKENS, tokens=tokens)
    check_counts(batch_size=batch_size)
    chats = render(tokenizer, as_rows(examples, "examples"), with_response=tokens in ("response", "all"))
    if thinks(tokenizer):
        warnings.warn("by its chat template the model thinks before it answers, so that thoughts count as responses: "
                      "load it with chat_template_kwargs={'enable_thinking': False}", stacklevel=2)
    return [_batch(chats[at:at + batch_size], tokens) for at in range(0, len(chats), batch_size)]


def _batch(rows: list[tuple[list[int], int]], tokens: str) -> dict[str, Tensor]:
    batch = pad_columns({"input_ids": [ids for ids, _ in rows]}, {"input_ids": 0})
    real = batch["attention_mask"].bool()
    place = torch.arange(real.shape[1])  # [token]
    start = torch.tensor([[start] for _, start in rows])  # [batch, 1], where the response begins
    chosen = {"response": place >= start, "prompt": place < start, "last_prompt": place == start - 1,
              "all": real}[tokens]
    return {**batch, "token_mask": real & chosen}


@torch.no_grad()
def collect(model: PreTrainedModel, batches: Iterable[Mapping[str, Tensor]], progress: bool = False) -> Moments:
    """Moments of every unit's activation over the tokens that `token_mask` marks.

    One forward pass without logits; memory does not grow with the number of tokens. Activations are cast to float64
    before anything is summed. A batch without `token_mask` counts all its unpadded tokens.

    Returns float64 [unit] a site, on the CPU.
    Raises ValueError if there are no batches, no marked token, or an activation is not finite (naming the site).

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> [batch] = ssah.batches([{"prompt": "name the lamp", "response": "the lamp"}], tokenizer)
    >>> moments = ssah.collect(model, [batch, batch])
    >>> moments.count == 2 * batch["token_mask"].sum().item(), moments.sizes == ssah.UnitMap(model).sizes
    (True, True)

    *Shown in:* 00_start_here.
    """
    units, total = known_units(model), None
    check_list("pass a list of batches, such as ssah.batches gives", batches=batches)
    for batch in tqdm(batches, desc="collect", disable=not progress, leave=False):
        moments = _moments_of_batch(model, units, batch)
        total = moments if total is None else total + moments if moments else total
    if total is None:
        raise ValueError("batches hold no marked token: pass at least one batch whose token_mask is not all false")
    return total


def _moments_of_batch(model: PreTrainedModel, units: UnitMap, batch: Mapping[str, Tensor]) -> Moments | None:
    check_batch(model, batch)
    mask = (batch.get("token_mask", batch["attention_mask"]) * batch["attention_mask"]).bool()  # [batch, token]
    if not mask.any():
        return None
    check_context(model, mask.shape[1], f"the longest chat has {mask.shape[1]} tokens")
    mean, squares, places = {}, {}, mask.flatten().nonzero().flatten()

    def read(site: str, activation: Tensor) -> None:
        moments = _moments_of(activation.flatten(0, -2), places.to(activation.device))
        mean[site], squares[site] = (part.cpu() for part in moments)
        if not bool(torch.isfinite(squares[site]).all()):
            raise ValueError(f"an activation at site {site!r} is not finite: check the model's weights and dtype")

    with evaluating(model), reading(model, units, read), head_reads(model, no_logits):
        model(**inputs_of(model, batch), use_cache=False)
    return Moments(len(places), mean, squares)


def _moments_of(x: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sum of squared deviations of x [token, unit] over the tokens `places`: float64 [unit] each.

    Some tokens at a time, merged as `Moments` are (Chan et al. 1979).
    """
    count, mean, squares = 0, 0.0, 0.0
    for some in places.split(TOKENS_AT_ONCE):
        center, spread = _moments_at_once(x if len(some) == len(x) else x[some])
        total, shift = count + len(some), center - mean
        squares = squares + spread + shift ** 2 * (count * len(some) / total)
        mean, count = mean + shift * (len(some) / total), total
    return mean, squares


def _moments_at_once(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same of all tokens of x [token, unit]."""
    centers, spreads = [], []
    for part in x.split(UNITS_AT_ONCE, 1):
        part = part.to(torch.float64, copy=True)  # of a float64 model, too: what follows is in place
        centers.append(part.mean(0))
        spreads.append(part.sub_(centers[-1]).square_().sum(0))
    return torch.cat(centers), torch.cat(spreads)


@contextmanager
def reading(model: nn.Module, units: UnitMap, read: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `read(site, activation)` with the activations of every site in each forward pass.

    They are [batch, token, unit], or [batch * token, unit] where a model (OPT) flattens them. Raises ValueError in a
    pass that goes round a site.

    >>> model, tokenizer = ssah.load_organism(scale="tiny")
    >>> shapes = {}
    >>> with reading(model, UnitMap(model), lambda site, x: shapes.update({site: x.shape[:2]})):
    ...     _ = model(input_ids=torch.tensor([[1, 2, 3]]))
    >>> shapes["mlp.0"]
    torch.Size([1, 3])
    """
    readers = {site.name: model.get_submodule(site.reader) for site in units}
    with must_run(model, {f"site {name!r}": reader for name, reader in readers.items()}), ExitStack() as undo:
        for name, reader in readers.items():
            hook = reader.register_forward_pre_hook(lambda module, args, name=name: read(name, args[0]))
            undo.callback(hook.remove)
        yield

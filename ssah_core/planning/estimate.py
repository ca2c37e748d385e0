"""What a run on a real checkpoint will need, from its config alone.

Parameters, GPU memory, hours and disk with the assumptions behind them; and a refusal, before anything is computed,
where something is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas
import torch
from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedModel

from ..data import first_to_be_had, load_data
from ..materials import INSTRUCTIONS, UNSEEN
from ..models import GATED, an_open_one, has_chat_template, on_meta, read_config
from ..records import DTYPES
from ..units import UnitMap, UnitMask, check_architecture

FROZEN, REDUNDANT, HELD = 0.075, 0.2, 0.75
"""Shares of all units: SCU + 6 % CU (paper, Section 4.1), the alignment budget of Table 4, and SCU + all CU at most."""
NOTEBOOKS = "notebooks 04 to 08"
"""The stage that is on one GPU, however many there are: studies train a copy beside the model it is held against."""
GB = 1e9


@dataclass(frozen=True)
class Work:
    """What one part of the paper asks for, in tokens, for one seed."""

    forward: float = 0
    """Read, without gradient."""
    trained: float = 0
    """Trained on, all parameters or some."""
    generated: float = 0


ROWS, LENGTH, ANSWER = 50_000 + 14_000, 150, 256
"""Rows of Alpaca and Dolly without safety rows, tokens a row, and tokens of a completion: rounded."""
WORK = {
    "score units": Work(forward=2 * 128 * 512),  # two calibration sets
    "remove groups (Table 1)": Work(forward=8 * 700_000, generated=8 * 2 * 100 * ANSWER),  # WikiText-2 and six tasks
    "freeze (Table 2)": Work(trained=(1 + 2 + 2) * ROWS * LENGTH, generated=7 * 850 * ANSWER),  # AdvBench and HEx-PHI
    "PEFT (Table 3)": Work(trained=3 * ROWS * LENGTH, generated=6 * 330 * ANSWER),
    "RU only (Table 4)": Work(trained=(1 + 2) * 52_000 * LENGTH, forward=3 * 5_000_000),
}
TFLOPS, READ, TOGETHER = 150, 1.0e12, 32
"""Sustained bfloat16 TFLOP/s and bytes/s of memory of one GPU (about half of an A100's best), and prompts that are
answered together."""
KEPT = 2 + 2 * 3 + 2
"""Checkpoints on disk: base and chat, three arms of two attacks, and two of Table 4."""


DATA = (("advbench",), UNSEEN, ("xstest",), ("gsm8k/train",), ("gsm8k/test",),
        ("wikitext2/test",), INSTRUCTIONS, ("dolly",))
"""Data sets that a run on a checkpoint takes, with the split where several are published; of each line one will do."""


@dataclass(frozen=True)
class Plan:
    """What a run needs. `needs` and `hours` are tables to look at; `print(plan)` says it all."""

    model: str
    parameters: int
    units: int
    dtype: str
    gpus: int
    needs: pandas.DataFrame
    """GB a GPU: a row a stage; weights, gradients, optimiser, copies, activations, total."""
    hours: Mapping[str, float]
    disk: float
    """GB."""
    notes: tuple[str, ...]

    def __str__(self) -> str:
        hours = ", ".join(f"{part} {value:.1f}" for part, value in self.hours.items())
        return "\n".join((
            f"{self.model}: {self.parameters:,} parameters in {self.dtype}, {self.units:,} units, {self.gpus} GPU(s)",
            "", "GB of memory a GPU", self.needs.round(1).to_string(), "",
            f"Hours, one seed: {sum(self.hours.values()):.0f} ({hours})",
            "The notebooks have more arms than the paper, their controls: "
            "about three times the hours of Tables 2 to 4. They train on one GPU",
            f"Disk: {self.disk:.0f} GB for {KEPT} checkpoints", *(f"Note: {note}" for note in self.notes)))


def plan(model: str | Path | PreTrainedConfig, gpus: int = 1, dtype: str = "bfloat16", rows: int = 4,
         tokens: int = 512) -> Plan:
    """What a run of the paper's experiments on `model` needs, from its config alone; no weight is read.

    model    A folder, a hub id (from the hub's cache, or the network), or a config.
    gpus     How many GPUs share the model (FSDP2).
    dtype    Of weights, gradients and optimiser state: "float32", "bfloat16" or "float16".
    rows, tokens   Of one micro-batch a GPU.

    Memory: weights, gradients and AdamW's two moments in `dtype`, over `gpus` (but for the notebooks); activations
    with gradient checkpointing (one hidden state a block, and the inside of one block), logits with their float32
    copy. Hours: 2 FLOPs a parameter and token forwards, 8 in training (forwards twice, backwards), at 150 TFLOP/s a
    GPU; generation reads all weights once a token at 1 TB/s, 32 prompts together. Right to a factor of about two.

    Raises ValueError in one sentence for what cannot run: see `read_config`, and for the architecture `UnitMap` and
    `check_units`, which is tried on a small random model of it.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r} has no gradient: choose {', '.join(DTYPES)}")
    if gpus < 1:
        raise ValueError(f"gpus={gpus} cannot hold a model: pass at least 1")
    config = model if isinstance(model, PreTrainedConfig) else read_config(model)
    name = type(config).__name__ if model is config else str(model)
    shape = on_meta(config)
    units = UnitMap(shape).total
    check_architecture(config)
    count = sum(parameter.numel() for parameter in shape.parameters())
    needs = _memory(shape, gpus, getattr(torch, dtype).itemsize, rows * tokens)
    hours = {part: _hours(work, count, getattr(torch, dtype).itemsize, gpus) for part, work in WORK.items()}
    return Plan(name, count, units, dtype, gpus, needs, hours,
                KEPT * count * getattr(torch, dtype).itemsize / GB, _notes(model, name, count, dtype))


def check_memory(made: Plan, memory: float) -> None:
    """Raise ValueError if a stage needs more than `memory` GB a GPU, saying how many GPUs would do."""
    worst = made.needs.total.idxmax()
    if made.needs.total[worst] <= memory:
        return
    fixed = made.needs.activations[worst]
    more = math.ceil((made.needs.total[worst] - fixed) * made.gpus / (memory - fixed)) if memory > fixed else None
    way = f"take {more} GPUs (GPUS={more})" if more and worst != NOTEBOOKS else "take GPUs with more memory"
    raise ValueError(f"{made.model} needs {made.needs.total[worst]:.0f} GB a GPU for the {worst} but there are "
                     f"{memory:.0f}: {way}, or a smaller model such as {an_open_one(made.parameters / 4)}")


def check_data(needed: Sequence[Sequence[str]] = DATA) -> list[str]:
    """Where the data sets of a run lie, a line each: in the folder SSAH_DATA, or on the hub.

    needed   Names of `list_data()`, or "name/split", in alternatives: the first that is here counts, or else the first
             that the hub gives.

    All are read, and those on the hub downloaded. Raises ValueError that names every one that cannot be had, with
    what to do.
    """
    found, missing = [], []
    for names in needed:
        try:
            found.append(first_to_be_had(names, _read)[1].info.description)
        except ValueError as error:
            missing.append(f"- {' or '.join(names)}: {error}")
    if missing:
        raise ValueError("\n".join([f"{len(missing)} of {len(needed)} data sets cannot be had; get them and run again",
                                    *missing]))
    return found


def _read(name: str) -> Dataset:
    name, _, split = name.partition("/")
    return load_data(name, split or None)


# --- the numbers ---


def _memory(model: PreTrainedModel, gpus: int, size: int, tokens: int) -> pandas.DataFrame:
    units, count = UnitMap(model), sum(parameter.numel() for parameter in model.parameters())
    frozen, trained = _entries(model, units, FROZEN, "any"), _entries(model, units, REDUNDANT, "all")
    block = sum(p.numel() for p in model.get_submodule(units.blocks[0]).parameters())
    gathered = block * size if gpus > 1 else 0  # the block that is whole while it computes
    vocabulary, hidden = model.get_output_embeddings().weight.shape
    widest = max(units.sizes.values())
    inside = tokens * (10 * hidden + 4 * widest) * size + gathered
    scoring = tokens * (vocabulary * size + 16 * widest) + inside  # float64, and its squares
    training = tokens * (len(units.blocks) * hidden * size + vocabulary * (size + 8)) + inside
    kept = count if gpus > 1 else trained  # sharded, redundant units train without compact weights
    copies = count - trained if gpus > 1 else trained
    rows = {"scoring": (count, 0, 0, 0, scoring), "freezing step": (count, count, 2 * count, frozen, training),
            "RU-only step": (count, kept, 2 * kept, copies, training)}
    shares = {stage: [*(n * size / gpus for n in row[:4]), row[4]] for stage, row in rows.items()}
    before = count + _entries(model, units, HELD, "any")  # the model that is held against, and what an arm puts back
    shares[NOTEBOOKS] = [*(n * size for n in (count, count, 2 * count, before)), training - gathered]
    table = pandas.DataFrame(shares.values(), list(shares),
                             ["weights", "gradients", "optimiser", "copies", "activations"]) / GB
    return table.assign(total=table.sum(axis=1))


def _entries(model: PreTrainedModel, units: UnitMap, share: float, shared: str) -> int:
    """Weight entries of the first `share` of every site's units."""
    mask = UnitMask({site: torch.arange(size) < round(share * size) for site, size in units.sizes.items()})
    return sum(len(part.index) * model.get_parameter(part.weight).shape[1 - part.axis]
               for part in units.slices(mask, shared))


def _hours(work: Work, count: int, size: int, gpus: int) -> float:
    flops = count * (2 * work.forward + 8 * work.trained) * (2 if size == 4 else 1)
    read = work.generated / TOGETHER * count * size
    return (flops / (TFLOPS * 1e12) + read / READ) / gpus / 3600


def _notes(model, name: str, count: int, dtype: str) -> tuple[str, ...]:
    notes = []
    if name.startswith(GATED):
        notes.append(f"accept its licence at https://huggingface.co/{name}; {an_open_one(count)} serves without")
    if isinstance(model, PreTrainedConfig) or has_chat_template(model) is None:
        notes.append("no tokenizer was looked at, so its chat template is not checked")
    if dtype != "float32":
        notes.append(f"in {dtype} alone most updates at a rate of 2e-5 round away: "
                     "train in float32 (DTYPE=float32) if it fits")
    return tuple(notes)

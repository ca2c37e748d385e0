"""A dress rehearsal: scoring, one freezing step and one RU-only step on random weights of a checkpoint's shape.

So a job can be tried before the weights are there. Nothing is learned about safety: the weights mean nothing.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ..freezing import check_frozen, freeze, train_only
from ..models import class_for, few_blocks, on_meta, read_config
from ..records import cache, paths
from ..units import UnitMap, collect, label_units, score_units
from .estimate import FROZEN, GB, NOTEBOOKS, REDUNDANT, plan

ROOM = 0.7
"""Share of the free memory that a rehearsal takes."""


def rehearse(model: str | Path | PreTrainedConfig, dtype: str = "bfloat16", device: str = "auto", rows: int = 2,
             tokens: int = 64, memory: float | None = None) -> Path:
    """Try out, and time, what a run on `model` does, on random weights made from its config alone.

    model          As for `plan`.
    device         "auto": a GPU where there is one, else the CPU; or a torch device.
    rows, tokens   Of the one batch that is read.
    memory         GB to use; default most of what is free.

    Where the whole model does not fit, it has fewer blocks, each of full width, and the record says so. Units are
    scored and labelled on two random batches, then one AdamW step is taken with the 7.5 % of all units frozen that the
    paper freezes (and proved to be frozen), and one in which 20 % redundant units alone train.
    Returns the record: figures/rehearsals/<model>.<device>.json, with seconds and GB of each stage.
    Raises ValueError as `plan` does, or if not even one block fits.
    """
    config = model if isinstance(model, PreTrainedConfig) else read_config(model)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    whole = plan(model, 1, dtype, rows, tokens)
    scaled, blocks = _fitted(config, dtype, rows, tokens, _free(device) * ROOM if memory is None else memory)
    made, build = _timed(lambda: _random_model(scaled, dtype, device), device)
    measured = {"build": build, **_stages(made, rows, tokens)}
    record = {
        "model": whole.model, "device": _device_name(device), "dtype": dtype, "rows": rows, "tokens": tokens,
        "parameters": {"planned": whole.parameters, "rehearsed": sum(p.numel() for p in made.parameters())},
        "scaled": "nothing" if blocks[0] == blocks[1] else f"{blocks[0]} of {blocks[1]} blocks, each of full width",
        "planned_gb": plan(scaled, 1, dtype, rows, tokens).needs.total.drop(NOTEBOOKS).round(3).to_dict(),
        "measured": measured, "versions": {package: version(package) for package in ("torch", "transformers")},
        "date": datetime.now(UTC).date().isoformat()}
    name = re.sub(r"[^\w.-]+", "-", f"{Path(whole.model).name}.{record['device']}")
    cache.write_json(paths.figures() / "rehearsals" / f"{name}.json", record)
    return paths.figures() / "rehearsals" / f"{name}.json"


# --- what is measured ---


def _stages(model: PreTrainedModel, rows: int, tokens: int) -> dict[str, dict]:
    device, measured = model.device, {}
    moments, measured["scoring"] = _timed(lambda: [collect(model, [_batch(model, rows, tokens, seed)])
                                                   for seed in (0, 1)], device)
    labels = label_units(score_units(model, safety=moments[0], utility=moments[1]),
                         scu=FROZEN / 2, ucu=FROZEN, ru=REDUNDANT)
    model.gradient_checkpointing_enable()
    held = labels.mask("SCU") | labels.mask("CU").top(FROZEN / 2, by=moments[0].variance)
    before = {name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}
    with freeze(model, held):
        _, measured["freezing step"] = _timed(lambda: _step(model, rows, tokens), device)
    report = check_frozen(before, model, held)
    del before
    measured["freezing step"] |= {"frozen_entries": report.frozen, "frozen_changed": report.frozen_changed}
    with train_only(model, labels.mask("RU")):
        _, measured["RU-only step"] = _timed(lambda: _step(model, rows, tokens), device)
        measured["RU-only step"]["trained_entries"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return measured


def _step(model: PreTrainedModel, rows: int, tokens: int) -> torch.optim.Optimizer:
    """One step of AdamW on one random batch; the optimiser is returned so that its state is still there."""
    model.train()
    model.zero_grad()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    ids = _batch(model, rows, tokens, seed=2)["input_ids"].to(model.device)
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    optimizer.step()
    return optimizer


def _batch(model: PreTrainedModel, rows: int, tokens: int, seed: int) -> dict[str, torch.Tensor]:
    words = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(words, (rows, tokens), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _timed(work: Callable, device) -> tuple:
    """What `work` returns; and its seconds, and the most GB of the GPU (on the CPU: of the process, afterwards)."""
    gpu = torch.device(device).type == "cuda"
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    found = work()
    if gpu:
        torch.cuda.synchronize()
    used = torch.cuda.max_memory_allocated() if gpu else _psutil().Process().memory_info().rss
    return found, {"seconds": round(time.perf_counter() - start, 3), "gb": round(used / GB, 3)}


# --- the model ---


def _random_model(config: PreTrainedConfig, dtype: str, device: str) -> PreTrainedModel:
    torch.manual_seed(0)
    with torch.device(device):
        return class_for(config).from_config(config, dtype=getattr(torch, dtype), trust_remote_code=False).eval()


def _fitted(config: PreTrainedConfig, dtype: str, rows: int, tokens: int, memory: float) -> tuple:
    """The config with as many blocks as fit into `memory` GB; and how many of how many those are."""
    blocks = len(UnitMap(on_meta(config)).blocks)
    one, two = (plan(_with_blocks(config, n), 1, dtype, rows, tokens).needs.total.drop(NOTEBOOKS).max()
                for n in (1, min(2, blocks)))
    if one > memory:
        raise ValueError(f"one block of {type(config).__name__} with its embedding needs {one:.1f} GB for a training "
                         f"step but {memory:.1f} can be used: free memory, or rehearse on a larger machine")
    fit = blocks if one + (two - one) * (blocks - 1) <= memory else int(1 + (memory - one) / (two - one))
    return _with_blocks(config, fit), (fit, blocks)


def _with_blocks(config: PreTrainedConfig, blocks: int) -> PreTrainedConfig:
    config = few_blocks(config, blocks)
    if len(UnitMap(on_meta(config)).blocks) != blocks:
        raise ValueError(f"{type(config).__name__} cannot be made with {blocks} blocks: rehearse where the whole model "
                         "fits, or pass memory to say so")
    return config


def _free(device: str) -> float:
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info()[0] / GB
    return _psutil().virtual_memory().available / GB


def _psutil():
    """The package psutil, which only rehearsals on the CPU need. Raises ValueError where it is missing."""
    try:
        import psutil
    except ImportError:
        raise ValueError("the package psutil is missing, which tells a rehearsal how much memory is free: run "
                         "pip install 'ssah[notebooks]'") from None
    return psutil


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if torch.device(device).type == "cuda" else f"CPU {platform.machine()}"

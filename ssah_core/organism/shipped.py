"""Organism 0, as it was raised once: shipped with the package, so that notebooks begin in seconds and all readers see
the same answers.

    SSAH_RAISE=1 python -m ssah_core.organism     raise it, and pack it anew: after its recipe has changed

Its weights are those that raising keeps, which are rounded to bfloat16: nothing is lost in the 2 bytes of each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..records import cache, digest, file_digest

FOLDER = Path(__file__).parent / "organism0"
SEED, SCALE = 0, "organism"
COMMON = ("config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja")
OF_A_STAGE = ("training.json", "evidence.json", "tokenizer_config.json")


def is_shipped(recipe: Mapping[str, Any], seed: int, precision: str) -> bool:
    """Whether the organism of that recipe and seed lies in the package, and is wanted from there.

    >>> is_shipped({}, 1, "float32")
    False
    """
    about = FOLDER / "about.json"
    if is_unwanted() or (seed, precision) != (SEED, "float32") or not about.is_file():
        return False
    return cache.read_json(about)["recipe"] == digest(recipe)


def is_unwanted() -> bool:
    """Whether organism 0 is to be raised instead: SSAH_RAISE. Raises ValueError if that is neither 1, 0 nor unset.

    >>> is_unwanted()
    False
    """
    wish = os.environ.get("SSAH_RAISE", "")
    if wish not in ("", "0", "1"):
        raise ValueError(f"SSAH_RAISE is {wish!r}: set it to 1 to raise organism 0 anew, or leave it unset")
    return wish == "1"


def unpack(folder: Path, stage: str) -> None:
    """Fill a folder with the checkpoint of a stage. Raises ValueError if a file is not as it was shipped."""
    for name, sha256 in cache.read_json(FOLDER / "about.json")["files"].items():
        file = FOLDER / name
        if name.startswith((f"{stage}.", "common/")) and not (file.is_file() and file_digest(file) == sha256):
            raise ValueError(f"{file} is damaged: install the package again, or set SSAH_RAISE=1 to raise "
                             "organism 0 anew")
    weights = {name: weight.float() for name, weight in load_file(FOLDER / f"{stage}.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for file in (FOLDER / "common").iterdir():
        shutil.copyfile(file, folder / file.name)
    for name in OF_A_STAGE:
        shutil.copyfile(FOLDER / f"{stage}.{name}", folder / name)


def pack(stages: Mapping[str, Path], recipe: Mapping[str, Any]) -> Path:
    """Write the shipped files from an organism's checkpoints, by stage. Raises ValueError if a weight would change, and
    then leaves what is there."""
    short = {stage: _short(folder) for stage, folder in stages.items()}
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "common").mkdir(parents=True)
    for stage, folder in stages.items():
        save_file(short[stage], FOLDER / f"{stage}.safetensors")
        for name in OF_A_STAGE:
            shutil.copyfile(folder / name, FOLDER / f"{stage}.{name}")
        for name in COMMON:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, FOLDER / "common" / name)
    files = sorted(file for file in FOLDER.rglob("*") if file.is_file())
    cache.write_json(FOLDER / "about.json", {"recipe": digest(recipe), "files": {
        file.relative_to(FOLDER).as_posix(): file_digest(file) for file in files}})
    return FOLDER


def _short(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint in two bytes each."""
    weights = load_file(folder / "model.safetensors")
    short = {name: weight.bfloat16() for name, weight in weights.items()}
    if not all(torch.equal(short[name].float(), weight) for name, weight in weights.items()):
        raise ValueError(f"{folder} holds weights that are not rounded to bfloat16: raise the organism anew")
    return short

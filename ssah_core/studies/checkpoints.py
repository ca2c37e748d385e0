"""Checkpoints as subjects of studies: at scales "paper" and "smollm", `Subject.load` takes its model from here.

    rows = ssah.measure_each(stages.stages, seeds=[0], scale="paper",
                             **on_model("paper", "Qwen/Qwen2.5-7B-Instruct"))

A checkpoint takes the place of the aligned organism, and where the one it was aligned from is known, that of the
organism before alignment ("instructed"). What both are asked and trained on is `materials.Published`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache as cache_once
from weakref import WeakKeyDictionary

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..generation import COMPLETIONS_VERSION, complete_to
from ..judging import STRICTER, FluentFulfilment
from ..materials import CONTEXT, SIZES, Published, Sizes
from ..models import LEADING_SPACE_VERSION, bind_wished, context_of, end_prompts_with, leading_space, load
from ..organism import Row
from ..records import cache, is_checkpoint, paths, rests_on, slug, wished_dtype, wishes
from ..smollm import checkpoint, fluent_judge, folders_of
from ..smollm import checkpoints_of as smollm_of

LONG_NAME = 60
"""Characters of a checkpoint's name that are kept in a folder's: the path of a local one may be too long."""
UNALIGNED = {
    r"(meta-llama/Llama-2-(?:7|13|70)b)-chat-hf": r"\1-hf",
    r"(meta-llama/Meta-Llama-3-(?:8|70)B)-Instruct": r"\1",
    r"(meta-llama/(?:Meta-)?Llama-3\.1-(?:8|70)B)-Instruct": r"\1",
    r"(meta-llama/Llama-3\.2-[13]B)-Instruct": r"\1",
    r"(mistralai/Mistral-7B)-Instruct(-v0\.[13])": r"\1\2",
    r"(Qwen/Qwen2\.5-(?:0\.5|1\.5|3|7|14|32|72)B)-Instruct": r"\1",
    r"(Qwen/Qwen3-(?:0\.6|1\.7|4|8|14)B)": r"\1-Base",
    r"(google/gemma-2-(?:2|9|27)b)-it": r"\1",
    r"(allenai/OLMo-2-(?:0425-1B|1124-7B|1124-13B|0325-32B))-Instruct": r"\1",
    r"(HuggingFaceTB/SmolLM2-(?:135M|360M|1\.7B))-Instruct": r"\1",
}
"""Aligned checkpoint (a regular expression) -> the one it was aligned from, by their model cards."""


def on_model(scale: str, model: str = "", unaligned: str = "") -> dict[str, dict[str, str]]:
    """What to add to `measure_each` so that a study runs on a checkpoint: its `checkpoints`; nothing for organisms.

    model       Hub id or folder of an aligned chat checkpoint, at scale "paper". At scale "smollm", which has
                a model of its own, empty or that one's name.
    unaligned   The checkpoint that it was aligned from; where this is empty, `UNALIGNED` may name it.

    Says how answers to malicious requests are judged there. Rows are kept by the checkpoint's name: give new weights a
    new one. Raises ValueError if scale "paper" has no model, or an organism's scale has one.

    >>> from ssah_core.studies import on_model
    >>> on_model("organism")
    {}

    *Shown in:* 00_start_here.
    """
    if is_checkpoint(scale):
        named = _named(scale, model, unaligned)
        print("No judge knows right answers to malicious requests here: where one is called right, correct or "
              f"complete, it is not refused and has at least 20 words ({STRICTER}).")
        return {"checkpoints": named}
    if model or unaligned:
        raise ValueError(f"scale={scale!r} studies organisms, but model={model or unaligned!r} is named: set "
                         'scale="paper", or leave model empty')
    return {}


def _named(scale: str, model: str, unaligned: str) -> dict[str, str]:
    if scale == "smollm":
        if unaligned:
            raise ValueError(f'unaligned={unaligned!r}, but scale="smollm" begins with its own model: leave it empty')
        return smollm_of(model)
    if not model:
        raise ValueError('scale="paper" needs a checkpoint: set model, such as "Qwen/Qwen2.5-7B-Instruct"')
    return checkpoints_of(model, unaligned)


def checkpoints_of(model: str, unaligned: str = "") -> dict[str, str]:
    """The checkpoints of the stages "aligned" and, where it is named or known, "instructed".

    >>> from ssah_core.studies.checkpoints import checkpoints_of
    >>> checkpoints_of("Qwen/Qwen2.5-7B-Instruct")
    {'aligned': 'Qwen/Qwen2.5-7B-Instruct', 'instructed': 'Qwen/Qwen2.5-7B'}
    """
    known = (re.sub(pattern, base, model) for pattern, base in UNALIGNED.items() if re.fullmatch(pattern, model))
    base = unaligned or next(known, "")
    return {"aligned": model, **({"instructed": base} if base else {})}


def load_checkpoint(seed: int, stage: str = "aligned", checkpoints: Mapping[str, str] | None = None,
                    scale: str = "paper") -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Published]:
    """A checkpoint, its tokenizer and its material.

    seed          Draws the data; the checkpoint is the same for every seed (at scale "smollm" aligned by it).
    stage         "aligned" or "instructed".
    checkpoints   Of `checkpoints_of`. An unaligned checkpoint speaks by the aligned one's tokenizer and chat template,
                  and is calibrated on the aligned one's refusals.
    scale         "paper", or "smollm", whose checkpoints are made here and whose material is smaller.

    Raises ValueError if `checkpoints` names none for the stage, or it cannot be loaded.
    """
    _check_named(stage, checkpoints)
    checkpoints = folders_of(checkpoints, seed, stage) if scale == "smollm" else checkpoints
    aligned = checkpoints["aligned"]
    model, tokenizer = _loaded(checkpoints[stage], aligned)

    def ask(rows: Sequence[Row], settings: Mapping[str, int]):  # without the material, so that nothing holds the model
        return _said(_loaded(aligned, aligned)[0], tokenizer, aligned, rows, settings)

    fluent = _fluent if scale == "smollm" else None
    return model, tokenizer, Published(tokenizer, context_of(model) or CONTEXT, seed, ask, SIZES.get(scale, Sizes()),
                                       fluent)


def _fluent() -> FluentFulfilment:
    """The judge of fluent fulfilment, made once: it holds SmolLM2 as published."""
    rests_on("benign_answers")  # its threshold does, also for a study that did not make it
    return _fluent_of(str(checkpoint("instructed")))


@cache_once
def _fluent_of(folder: str) -> FluentFulfilment:
    return fluent_judge()


_UNTOUCHED: WeakKeyDictionary[PreTrainedModel, tuple] = WeakKeyDictionary()
"""Checkpoints that somebody holds -> their tokenizer, and their name and state when they were loaded."""


def _loaded(name: str, aligned: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A checkpoint and the aligned one's tokenizer. One that is held and untouched is not loaded twice: two of 7B, and
    what trains beside them, are too many for a GPU."""
    held = _held(name, aligned)
    if held:
        return held
    model, tokenizer = load(name, tokenizer=aligned)
    bind_wished(tokenizer)
    model = _plain(model)
    end_prompts_with(tokenizer, _space_of(aligned, (model, tokenizer) if name == aligned else None))
    _UNTOUCHED[model] = (tokenizer, name, aligned, *_state(model))
    return model, tokenizer


def _held(name: str, aligned: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase] | None:
    return next(((model, tokenizer) for model, (tokenizer, *seen) in _UNTOUCHED.items()
                 if seen == [name, aligned, *_state(model)] and model.dtype == _dtype(model)), None)


def _space_of(aligned: str, loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None) -> str:
    """The `leading_space` of the aligned checkpoint, asked once (loaded for it if need be) and kept in the cache."""
    def load_aligned():
        model, tokenizer = load(aligned)
        bind_wished(tokenizer)
        return model, tokenizer

    def ask(folder):
        cache.write_json(folder / "space.json", {"space": leading_space(*(loaded or load_aligned()))})

    about = {"checkpoint": aligned, **wishes(), "version": LEADING_SPACE_VERSION}
    return cache.read_json(cache.artefact("spaces", about, ask) / "space.json")["space"]


def _state(model: PreTrainedModel) -> tuple:
    # Every write in place counts a parameter's version one up.
    return str(model.device), sum(parameter._version for parameter in model.parameters())


def _plain(model: PreTrainedModel) -> PreTrainedModel:
    """The model without its publisher's ways to sample (top-p, penalties), in a precision that trains."""
    ends = {name: getattr(model.generation_config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ends)
    return model.to(_dtype(model))


def _dtype(model: PreTrainedModel) -> torch.dtype:
    """As the environment variable SSAH_DTYPE says; else the checkpoint's own, but bfloat16 in place of float16."""
    own = torch.bfloat16 if model.dtype == torch.float16 else model.dtype
    return getattr(torch, wished_dtype()) if wished_dtype() else own


def _check_named(stage: str, checkpoints: Mapping[str, str] | None) -> None:
    if not checkpoints or "aligned" not in checkpoints:
        raise ValueError(f'checkpoints={checkpoints} names no aligned checkpoint, which scale="paper" needs: pass '
                         'those of on_model(scale, model)')
    if stage not in ("aligned", "instructed"):
        raise ValueError(f"stage={stage!r} is a stage of organisms only: a checkpoint is aligned or instructed")
    if stage not in checkpoints:
        raise ValueError(f"checkpoints={dict(checkpoints)} names no unaligned checkpoint: pass unaligned=... to "
                         "on_model, the one that yours was aligned from")


def _said(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, rows: Sequence[Row],
          settings: Mapping[str, int]):
    """What a checkpoint says to malicious requests, asked once and kept in the cache."""
    about = {"checkpoint": name, "prompts": [row["prompt"] for row in rows], "dtype": str(model.dtype),
             "template": tokenizer.chat_template, "tokens": settings["max_new_tokens"],
             "version": COMPLETIONS_VERSION}
    folder = paths.cache() / "completions" / f"{slug(name)[-LONG_NAME:]}-{cache.key(about)}"
    return complete_to(folder, model, tokenizer, rows, **settings)

"""Raise a model organism on the CPU: pre-trained on Brindle's text, instructed to help, aligned in two doses.

Each stage is an ordinary checkpoint that `from_pretrained` loads, kept in the artefact cache with its
training log (`training.json`). A stage that is there is not raised again. Weights are rounded to bfloat16 when a stage
is kept, so that organism 0 could be shipped in few bytes, as it is (`shipped`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .. import arithmetic
from ..arguments import check_choice, check_seed
from ..records import cache, evidence, noting, rests_on
from ..training import fine_tune, supervised
from . import corpora
from .alignment_course import DOSES, AlignmentCourse
from .scales import INITIAL_STD, ROPE_THETA, WEIGHT_DECAY, Scale, Schedule, get_scale, recipe
from .shipped import is_shipped, is_unwanted, unpack
from .tokenizer import pack, train_tokenizer
from .world import World

STAGES = ("pretrained", "instructed", *DOSES)
PRECISIONS = ("float32", "bfloat16")


def raise_organism(seed: int = 0, scale: str = "organism", progress: bool = True,
                   precision: str = "float32") -> dict[str, Path]:
    """Raise one organism, or find it raised: stage -> folder of its checkpoint.

    seed        Draws its world, its first weights and the order of its data: another organism each.
    precision   Of matrix products, as `fine_tune` knows it: "float32", of which all findings are; or "bfloat16", which
                takes less time on processors that have it, gives another organism, and other bits on another processor.

    It is raised in the portable mode of arithmetic (`ssah_core.arithmetic`), so that a seed gives the same bytes for
    any number of threads; where this process is in another mode, a process of its own raises it. Organism 0 of scale
    "organism" is shipped with the package and only unpacked, unless the environment variable SSAH_RAISE is "1".
    """
    check_seed(seed=seed)
    check_choice(PRECISIONS, precision=precision)
    get_scale(scale)
    is_unwanted()  # refuses a wish that is none, also where the organism is there
    rests_on("recipe")
    folders = _folders(seed, scale, precision)
    if not all(map(cache.is_complete, folders.values())):
        if arithmetic.mode() == _mode(precision):
            with noting():  # what raising asks and judges is part of the recipe
                _raise(seed, scale, progress, precision)
        else:
            _raise_apart(seed, scale, progress, precision)
    return folders


def is_raised(seed: int, scale: str) -> bool:
    """Whether an organism is there, at all stages of its life.

    >>> _ = raise_organism(0, "tiny")
    >>> is_raised(0, "tiny")
    True
    """
    return all(map(cache.is_complete, _folders(seed, scale, "float32").values()))


def _folders(seed: int, scale: str, precision: str) -> dict[str, Path]:
    return {stage: cache.place("organisms", _settings(seed, scale, stage, precision)) for stage in STAGES}


def _settings(seed: int, scale: str, stage: str, precision: str) -> dict[str, Any]:
    more = {} if precision == "float32" else {"precision": precision}
    return {"seed": seed, "scale": scale, "recipe": recipe(seed, scale), "stage": stage, **more}


def _mode(precision: str) -> str:
    """The mode of arithmetic to raise in: the portable one has no bfloat16."""
    return "portable" if precision == "float32" else "strict"


def _raise(seed: int, scale: str, progress: bool, precision: str) -> None:
    world, size = World.draw(seed), get_scale(scale)
    folders: dict[str, Path] = {}
    told = lambda what: f"organism {seed}, {what}" if progress else None  # noqa: E731
    about = {"world": world, "scale": size, "seed": seed, "before": folders, "precision": precision}
    aligning = lru_cache(partial(_align, **about, bar=told("aligned")))  # one course, of which both doses are kept
    builds = {"pretrained": partial(_pretrain, **about, bar=told("pretrained")),
              "instructed": partial(_instruct, **about, bar=told("instructed")),
              **{dose: partial(_keep, dose=dose, aligning=aligning) for dose in DOSES}}
    if is_shipped(recipe(seed, scale), seed, precision):
        builds = {stage: partial(unpack, stage=stage) for stage in STAGES}
    for stage, build in builds.items():
        folders[stage] = cache.artefact("organisms", _settings(seed, scale, stage, precision), build)


def _raise_apart(seed: int, scale: str, progress: bool, precision: str) -> None:
    """In a process of its own, which sets the mode before it loads torch; what it says is passed on."""
    asked = f"{seed}, {scale!r}, {progress}, {precision!r}"
    script = f"from ssah_core.organism import raise_organism; raise_organism({asked})"
    mode = arithmetic.PORTABLE if _mode(precision) == "portable" else arithmetic.STRICT
    others = {name: value for name, value in os.environ.items() if name not in arithmetic.PORTABLE}
    with Popen([sys.executable, "-c", script], stderr=PIPE, text=True, env={**others, **mode}) as process:
        said = ""
        while text := process.stderr.read(16):
            said = (said + text)[-2000:]
            sys.stderr.write(text)
    if process.returncode:
        last = said.strip().splitlines()[-1] if said.strip() else "it was stopped"
        raise RuntimeError(f"organism {seed} could not be raised: {last}")


def load_organism(stage: str = "aligned", seed: int = 0, scale: str = "organism",
                  progress: bool = True) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load an organism at a stage of its life, one of `STAGES`; raise it first if need be.

    stage   "pretrained", "instructed" (it helps, and fulfils whatever it is asked), "light" (lightly aligned: about one
            malicious request in eight is still fulfilled) or "aligned" (none is).

    seed    Draws its world, its first weights and the order of its data: another organism each.
    scale   "organism", in which the findings hold (minutes), or "tiny", which proves that code runs (seconds).

    Returns the model, in evaluation mode, and its tokenizer. Raises ValueError for an unknown stage or scale.

    >>> model, tokenizer = ssah.load_organism(scale="tiny", progress=False)
    >>> model.num_parameters(), ssah.UnitMap(model).total
    (53408, 192)

    *Shown in:* README.
    """
    check_stage(stage)
    return _load(raise_organism(seed, scale, progress)[stage])


def check_stage(stage: str) -> None:
    """Raise ValueError unless `stage` is one.

    >>> check_stage("chat")
    Traceback (most recent call last):
    ValueError: stage='chat' is unknown: choose one of pretrained, instructed, light, aligned

    *Shown in:* 01_raise_an_organism.
    """
    check_choice(STAGES, stage=stage)


def training_log(stage: str, seed: int = 0, scale: str = "organism",
                 precision: str = "float32") -> dict[str, list[dict]]:
    """How a stage went: `losses` [{step, loss in nats per token}] and, of both doses of alignment, `checks` on
    validation prompts and `kept`, the step after which the weights are those that were kept.

    >>> log = training_log("aligned", 0, "tiny")
    >>> [check["step"] for check in log["checks"]]
    [20, 40, 60, 80, 100, 120, 140]

    *Shown in:* 01_raise_an_organism.
    """
    check_stage(stage)
    return cache.read_json(raise_organism(seed, scale, precision=precision)[stage] / "training.json")


# -- the three stages ----------------------------------------------------------------------------------


def _pretrain(folder: Path, world: World, scale: Scale, seed: int, before: Mapping[str, Path], **how) -> None:
    tokenizer = train_tokenizer(world)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_config(scale, len(tokenizer)))
    rows = pack(corpora.pretraining(world, seed), tokenizer, scale.row,
                scale.pretrain.steps * scale.pretrain.batch_size)
    _save(folder, model, tokenizer, losses=_train(model, rows, scale.pretrain, seed, **how))


def _instruct(folder: Path, world: World, scale: Scale, seed: int, before: Mapping[str, Path], **how) -> None:
    model, tokenizer = _load(before["pretrained"])
    chats = corpora.instructions(world, scale.instruct.steps * scale.instruct.batch_size, seed)
    _save(folder, model, tokenizer, losses=_train(model, supervised(chats, tokenizer), scale.instruct, seed, **how))


def _align(world: World, scale: Scale, seed: int, before: Mapping[str, Path], bar: str | None,
           precision: str) -> AlignmentCourse:
    model, tokenizer = _load(before["instructed"])
    chats = corpora.alignment(world, scale.align.steps * scale.align.batch_size, seed)
    course = AlignmentCourse(model, tokenizer, corpora.exam(world, "validation", scale.exam), scale)
    course.losses = _train(model, supervised(chats, tokenizer), scale.align, seed, bar, precision,
                           schedule=course.learning_rate, callbacks=[course], log_every=scale.check_every)
    course.warn_unless_safe(f"organism {seed}")
    return course


def _keep(folder: Path, dose: str, aligning: Callable[[], AlignmentCourse]) -> None:
    course = aligning()
    kept = course.kept[dose]
    course.model.load_state_dict(kept.weights)
    _save(folder, course.model, course.tokenizer, losses=course.losses, checks=course.checks, kept=kept.step)


def _train(model, rows, stage: Schedule, seed: int, bar: str | None, precision: str, schedule="cosine",
           **more) -> list[dict]:
    warmup = 0.0 if callable(schedule) else 0.05
    return fine_tune(model, rows, steps=stage.steps, batch_size=stage.batch_size, at_once=stage.at_once, lr=stage.lr,
                     schedule=schedule, warmup=warmup, weight_decay=WEIGHT_DECAY, seed=seed, precision=precision,
                     progress=bar, **more)


# -- a checkpoint ------------------------------------------------------------------------------------


def _config(scale: Scale, vocabulary: int) -> LlamaConfig:
    return LlamaConfig(vocab_size=vocabulary, hidden_size=scale.hidden, intermediate_size=scale.mlp,
                       num_hidden_layers=scale.blocks, num_attention_heads=scale.heads, num_key_value_heads=scale.heads,
                       max_position_embeddings=256, tie_word_embeddings=True, initializer_range=INITIAL_STD,
                       rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
                       pad_token_id=0, bos_token_id=1, eos_token_id=2)


def _load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True,
                                                 trust_remote_code=False).eval()
    return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **log) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    cache.write_json(folder / "training.json", log)
    cache.write_json(folder / "evidence.json", evidence.now())

"""What studies rest on, by name: the digest of today's prompts, judges and recipes, to compare kept rows with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from random import Random
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..judging import definition
from ..models import bind_wished, context_of, load_tokenizer, package_index, read_config
from ..organism import World, alignment, recipe, train_tokenizer
from ..records import digest
from ..records import study as any_study
from .material import Brindle, Material
from .published import CONTEXT, Published
from .published_rows import benign_answers, choice_items
from .sizes import SIZES, Sizes

MANY = 256
"""Rows of a stream without an end that its digest is taken of."""
CONTENTS: Mapping[str, Callable[[Material], Any]] = {
    "wordings": lambda material: [material.refusals, material.openings, material.compliances, material.system_prompt],
    "calibration": lambda material: {name: rows.to_list() for name, rows in material.calibration().items()},
    "text": lambda material: material.text(),
    "exam/validation": lambda material: material.exam("validation"),
    "exam/test": lambda material: material.exam("test"),
    "new_tasks": lambda material: material.new_tasks(MANY),
    "pairs/validation": lambda material: material.pairs("validation", MANY),
    "pairs/test": lambda material: material.pairs("test", MANY),
    "preferences": lambda material: material.preferences(MANY).to_list(),
    "benign_answers": lambda material: benign_answers(),
    "choices": lambda material: choice_items(),
    "recovery": lambda material: material.recovery(_tokenizer(material), MANY, 0),
    "wrappers": lambda material: [material.reworded(row, wrapper, Random(wrapper))["prompt"]
                                  for wrapper in material.wrappers()
                                  for row in material.exam("validation")["harm"][:1]],
}
"""Name that a material notes (`records.rests_on`) -> what stands behind it; "fine_tuning/..." names an attack."""


def digest_of(name: str, seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> str:
    """12 hex digits of what a name stands for today, on one organism or checkpoint.

    name   "recipe" (of organisms of that scale), "judge/<its name>", or one that the material notes.

    Raises ValueError for a name that stands for nothing, such as that of a judge that is gone.

    >>> digest_of("exam/test", 0, "tiny") == digest_of("exam/test", 1, "tiny")
    False
    >>> digest_of("judge/keyword:qi2023", 0, "tiny") == digest_of("judge/keyword:qi2023", 1, "organism")
    True
    """
    return _digest_of(name, seed, scale, tuple(sorted((checkpoints or {}).items())))


@cache
def _digest_of(name: str, seed: int, scale: str, checkpoints: tuple[tuple[str, str], ...]) -> str:
    kind, _, rest = name.partition("/")
    if kind == "judge":
        return digest(definition(rest))
    if kind == "recipe":
        return digest(recipe(seed, scale))
    if kind == "alignment":
        return digest(alignment(World.draw(seed), MANY, seed).to_list())
    if kind == "fine_tuning":
        return digest(_material(seed, scale, checkpoints).fine_tuning(rest, MANY).to_list())
    if name not in CONTENTS:
        raise ValueError(f"{name!r} stands for nothing that a study rests on: choose one of recipe, alignment, "
                         f"judge/..., fine_tuning/..., {', '.join(CONTENTS)}")
    return digest(CONTENTS[name](_material(seed, scale, checkpoints)))


def _tokenizer(material: Material) -> PreTrainedTokenizerBase:
    return train_tokenizer(material.world) if isinstance(material, Brindle) else material.tokenizer


@cache
def _material(seed: int, scale: str, checkpoints: tuple[tuple[str, str], ...]) -> Material:
    """As a subject has it, but that no checkpoint is asked."""
    if not checkpoints:
        return Brindle(World.draw(seed), scale)
    aligned = str(package_index.published()) if scale == "smollm" else dict(checkpoints)["aligned"]
    config, tokenizer = read_config(aligned), load_tokenizer(aligned)
    bind_wished(tokenizer)
    return Published(tokenizer, context_of(config) or CONTEXT, seed, sizes=SIZES.get(scale, Sizes()))


study = partial(any_study, content=digest_of)
"""`records.study` for what rests on a material: put `@study("name", version=1)` above a function."""

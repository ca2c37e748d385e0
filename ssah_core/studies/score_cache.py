"""Scores kept in the cache: studies that ask the same model for its units search once between them.

Their key is what they hang on, the weights and the calibration sets themselves, whatever the model is called.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .. import arithmetic
from ..models import encode, token_ids, weights_digest
from ..records import cache, digest
from ..units import Scores
from .subject import SEARCHED, WAYS, Subject, Way

VERSION = 1
"""Of how scores come about from a model and its calibration sets: raised by hand when they come out otherwise."""
PARTS = ("safety", "utility", "contrast")


def with_scores(subject: Subject, ways: Iterable[str] = tuple(WAYS), first: float = 1.0) -> Subject:
    """The same subject, knowing its scores by these ways of `WAYS`: from the cache, or computed now and kept there.

    first   Share of all units, those that come first, whose order is asked for: a search stops when it has them.
    """
    wanted = dict.fromkeys(way for name in ways for way in WAYS[name].values())
    found = {way: _kept(subject, way, _rounds(way, first)) for way in wanted if way not in subject.readings}
    return replace(subject, readings=subject.readings.also(found))


def _rounds(way: Way, first: float) -> int:
    enough = ceil(first / SEARCHED * way.rounds) if way.criterion == "attribution" else way.rounds
    return min(way.rounds, enough)


def _kept(subject: Subject, way: Way, rounds: int) -> Scores:
    about = {**subject.readings.once("identity", lambda: _identity(subject)), "way": asdict(way), "rounds": rounds}
    folder = cache.artefact("scores", about, lambda folder: _save(subject.compute_scores(way, rounds), folder))
    found = (load_file(folder / f"{part}.safetensors") for part in PARTS)
    return Scores(way.criterion, *({site: part[site] for site in subject.units.sizes} for part in found))


def _save(scores: Scores, folder: Path) -> None:
    for part in PARTS:
        sites = {site: score.contiguous() for site, score in getattr(scores, part).items()}
        save_file(sites, folder / f"{part}.safetensors")


def _identity(subject: Subject) -> dict[str, str | int]:
    """What decides a subject's scores by any way, as digests: weights, and all that is read as tokens."""
    sets = {name: [encode(subject.tokenizer, row["prompt"], row["response"], system=row.get("system")) for row in rows]
            for name, rows in subject.sets.items()}
    material = subject.material
    begun = [token_ids(subject.tokenizer, texts, "wordings") for texts in (material.refusals, material.openings)]
    read = [sets, *begun, material.batch_size]
    return {"weights": weights_digest(subject.model), "config": digest(subject.model.config.to_json_string()),
            "data": digest(read), "version": VERSION,
            "arithmetic": arithmetic.mode(), "device": subject.model.device.type, "torch": torch.__version__}

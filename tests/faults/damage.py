"""Damaged files: one of every kind that a run has kept, cut short or with one bit turned, then the same command again.

Other stamps, and the rows of other studies in the cache, are removed, so that everything is asked for again. *Lost* is
a kind whose file is not as it was, or that lies in the cache and was made again without a word; what the run said
stands beside it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from .compare import differences
from .runs import Place
from .tell import Outcome, tell

KINDS = {
    "weights": "cache/organisms/*/model.safetensors", "config": "cache/organisms/*/config.json",
    "tokenizer": "cache/organisms/*/tokenizer.json", "training log": "cache/organisms/*/training.json",
    "settings of an organism": "cache/organisms/*/settings.json", "list of files": "cache/organisms/*/files.json",
    "scores": "cache/scores/*/safety.safetensors", "rows in the cache": "cache/studies/*/rows.json",
    "rows": "run/figures/measurements/**/tiny-seed0.json", "record": "run/figures/records/*.json",
    "table of a figure": "run/figures/*.json", "SVG": "run/figures/*.svg", "PNG": "run/figures/*.png",
    "stamp": "cache/executed/*.json", "notebook": "run/*.ipynb"}
"""Kind of file -> where such files lie."""
ARTEFACTS = ("cache/organisms/", "cache/scores/", "cache/studies/")
"""Where artefacts lie: one that is damaged is made again with a warning that names a file of it."""
WAYS = ("cut short", "one bit turned")


def damaged(place: Place, whole: Path, seed: int = 0) -> list[Outcome]:
    """Damage a drawn file of every kind, in two ways, run again, and compare."""
    lost: dict[str, list[str]] = {kind: [] for kind in KINDS}
    said: dict[str, list[str]] = {kind: [] for kind in KINDS}
    tried = dict.fromkeys(KINDS, 0)
    for n, way in enumerate(WAYS):
        place.begin_with(whole)
        chosen = _choose(place, random.Random(seed + n))
        for kind, file in chosen.items():
            _damage(file, way, random.Random(f"{seed} {kind}"))
            tried[kind] += 1
        _ask_for_all(place, set(chosen.values()))
        tell(f"{way}: {', '.join(str(file.relative_to(place.folder)) for file in chosen.values())}")
        ended = place.run()
        left, told = differences(place.folder, whole), told_by(chosen, ended.said + ended.errors)
        tell(f"it ended with {ended.code}, and differs in {left or 'nothing'}; told of: {', '.join(told) or 'nothing'}")
        for kind, file in chosen.items():
            said[kind] += [f"{way}, told: {line}" for line in told.get(kind, ())]
            if ended.code or file.relative_to(place.folder).as_posix() in left:
                lost[kind].append(f"{way}: {file.name}")
            elif KINDS[kind].startswith(ARTEFACTS) and kind not in told:
                lost[kind].append(f"{way}: {file.name} was made again, and nobody was told")
        if left and not any(lost.values()):
            lost["notebook"].append(f"{way}: {left}")
    return [Outcome("damaged files", kind, tried[kind], len(lost[kind]), lost[kind] + said[kind])
            for kind in KINDS if tried[kind]]


def _choose(place: Place, drawn: random.Random) -> dict[str, Path]:
    """A file of each kind, no two in one artefact."""
    chosen: dict[str, Path] = {}
    for kind, pattern in KINDS.items():
        taken = {file.parent for file in chosen.values() if "cache" in file.parts}
        free = [file for file in sorted(place.folder.glob(pattern)) if "executed" in file.parts or
                "cache" not in pattern or file.parent not in taken]
        files = free or sorted(place.folder.glob(pattern))
        if files:
            chosen[kind] = drawn.choice(files)
    return chosen


def _damage(file: Path, way: str, drawn: random.Random) -> None:
    content = bytearray(file.read_bytes())
    if way == "cut short":
        content = content[:len(content) // 2]
    else:
        content[_within(file, content, drawn)] ^= 1 << drawn.randrange(3)
    file.write_bytes(content)


def _within(file: Path, content: bytes, drawn: random.Random) -> int:
    """Which byte: of a notebook one of an output, since its text cells are their reader's to edit."""
    if file.suffix == ".ipynb" and b'"text/plain"' in content:
        return content.index(b'"text/plain"') + 24
    return drawn.randrange(len(content))


def _ask_for_all(place: Place, kept: set[Path]) -> None:
    """Remove what would keep a run from reading the damaged files: other stamps, and other rows in the cache."""
    for stamp in (place.cache / "executed").glob("*.json"):
        if stamp not in kept:
            stamp.unlink()
    for rows in (place.cache / "studies").glob("*/rows.json"):
        if rows not in kept:
            shutil.rmtree(rows.parent)


def told_by(chosen: Mapping[str, Path], said: str) -> dict[str, Sequence[str]]:
    """Kind -> lines of what a run said that call its file, or another one of its artefact, damaged."""
    lines = [line.strip() for line in said.splitlines() if "is damaged" in line]
    named = {kind: file.parent.name if KINDS[kind].startswith(ARTEFACTS) else file.name
             for kind, file in chosen.items()}
    told = {kind: [line for line in lines if name in line] for kind, name in named.items()}
    return {kind: lines for kind, lines in told.items() if lines}

"""What a real model says to malicious requests, whole and edited, a folder an arm: matter for a reader of judges.

    python -m ssah_core.studies.to_read runs/to-read
    python -m ssah_core.judging.reading runs/to-read/*/ --labels labels.json --fluent runs/to-read/fluent.json \\
        --reference HuggingFaceTB/SmolLM2-135M-Instruct
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..arguments import Parser
from ..generation import complete_to
from ..smollm import fluent_judge
from ..units import UnitKind, random_like
from .checkpoints import on_model
from .finetuning_attack import Attack, target
from .score_cache import with_scores
from .subject import WAYS, Subject

REMOVED = {"chosen": (0.0025, 0.01, 0.04), "paper": (0.01, 0.02, 0.04)}
"""Way -> shares of all units that are removed as SCU: where little comes of it, much, and too much."""
RANDOM = 0.04
"""Share of the random units."""


def write_arms(folder: Path, seed: int = 0) -> list[Path]:
    """Write what SmolLM2 says to the malicious test requests in every arm; returns the arms' folders.

    folder   New, or one that such a run has begun; "fluent.json" in it is the judge of fluency.
    seed     Of the alignment and the data.

    *Shown in:* 10_real_checkpoints.
    """
    fluent_judge().save(folder / "fluent.json")
    harm, made = None, []
    for arm, subject, stack in _arms(seed):
        harm = harm or subject.material.malicious("test")
        with stack:
            made.append(folder / arm)
            complete_to(made[-1], subject.model, subject.tokenizer, harm, arm=arm, progress=True,
                        **subject.material.asking)
    return made


def _arms(seed: int) -> Iterator[tuple[str, Subject, ExitStack]]:
    """Name, model, and the context in which its units are removed."""
    on = on_model("smollm")
    yield "published", Subject.load(seed, "smollm", "instructed", **on), ExitStack()
    aligned = with_scores(Subject.load(seed, "smollm", **on), tuple(REMOVED))
    yield "aligned", aligned, ExitStack()
    for way, shares in REMOVED.items():
        by = WAYS[way][UnitKind.SCU]
        masks = {f"{way}-{100 * share:g}": aligned.group(UnitKind.SCU, by, share) for share in shares}
        if way == "chosen":
            masks[f"random-{100 * RANDOM:g}"] = random_like(aligned.group(UnitKind.SCU, by, RANDOM), seed)
        for arm, mask in masks.items():
            stack = ExitStack()
            stack.enter_context(aligned.removed(mask, by))
            yield arm, aligned, stack
    fight = Attack(target(seed, "smollm", **on), "benign")
    yield "fine-tuned", fight.run(checks=(fight.steps,)), ExitStack()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m ssah_core.studies.to_read", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the arms' folders are made")
    options = parser.parse_args(argv)
    try:
        for made in write_arms(options.folder):
            print(made)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())

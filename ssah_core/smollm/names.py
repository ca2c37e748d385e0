"""SmolLM2 under a name: what rows and records call it, and the folder behind the name, made when it is first asked for.

A seed at this scale is a draw of the alignment and of the data, so one name stands for as many models as there are
seeds.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..arguments import check_choice
from ..records import digest, rests_on
from .align import checkpoint, made_by

NAME = "SmolLM2-135M-Instruct"
METHODS_BY_NAME: Mapping[str, str] = {NAME: "sft", f"{NAME}-DPO": "dpo"}
"""Name of an aligned one -> how it is aligned."""


def checkpoints_of(model: str = "") -> dict[str, str]:
    """Names of the stages, and a digest of what makes the aligned model; nothing is fetched or made.

    model   One of `METHODS_BY_NAME`; empty: the one that is aligned by SFT.

    Raises ValueError for another.

    >>> from ssah_core.smollm import checkpoints_of
    >>> names = checkpoints_of()
    >>> names["aligned"], names["instructed"], len(names["made_by"])
    ('SmolLM2-135M-Instruct', 'SmolLM2-135M-Instruct, as published', 12)
    """
    model = model or NAME
    check_choice(tuple(METHODS_BY_NAME), model=model)
    return {"aligned": model, "instructed": f"{NAME}, as published", "made_by": digest(made_by(METHODS_BY_NAME[model]))}


def folders_of(checkpoints: Mapping[str, str], seed: int, stage: str) -> dict[str, str]:
    """The folders of the aligned model of a seed, and of a stage; fetched and aligned first, if they are not there."""
    rests_on("preferences", "exam/validation", "benign_answers")  # of the alignment, though it was made before
    method = METHODS_BY_NAME[checkpoints["aligned"]]
    return {name: str(checkpoint(name, method, seed)) for name in dict.fromkeys(("aligned", stage))}

"""What each stage of a model's life can do, and how deep a dose of alignment goes (notebook 01)."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..materials import Brindle, study
from ..organism import STAGES, World, align_in_doses, training_log
from ..units import UnitKind
from .subject import WAYS, Subject

DOSES = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Steps of alignment, over the number of steps that first reached safety."""
SHARE = 0.03
"""Share of units removed to probe how deep a dose goes."""


@study("stages", version=2)
def stages(seed: int, scale: str, checkpoints: Mapping[str, str] | None = None) -> list[dict]:
    """Marks of every stage on test prompts: rows with `stage`, `metric`, `value` (%).

    checkpoints   Where given, only the stages that it names.

    *Shown in:* 01_raise_an_organism.
    """
    rows = []
    for stage in STAGES:
        if checkpoints is None or stage in checkpoints:
            subject = Subject.load(seed, scale, stage, checkpoints)
            rows += subject.examine(subject.material.exam("test"), seed=seed, stage=stage)
    return rows


@study("dose", version=2)
def dose(seed: int, scale: str) -> list[dict]:
    """ASR of ever more aligned models, whole and without their top `SHARE` of safety units, on test prompts.

    One run of alignment at a constant learning rate, measured on its way. Rows with `dose`, `removed` (none,
    SCU), `metric`, `value` (%). Each model is calibrated and its units are found anew.

    *Shown in:* 01_raise_an_organism.
    """
    world = World.draw(seed)
    rows: list[dict] = []

    def look(dose: float, steps: int, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        subject = Subject(model, tokenizer, Brindle(world, scale), scale)
        rows.extend(_depth(subject, seed=seed, dose=dose, steps=steps))

    align_in_doses(seed, scale, DOSES, look)
    return rows


def _depth(subject: Subject, **about) -> list[dict]:
    way, exam = WAYS["chosen"][UnitKind.SCU], subject.material.exam("test", 100)
    questions = {part: exam[part] for part in ("harm", "benign")}
    rows = subject.examine(questions, **about, removed="none")
    with subject.removed(subject.group(UnitKind.SCU, way, SHARE), way):
        return rows + subject.examine(questions, **about, removed=str(UnitKind.SCU))


@study("losses", version=1)
def losses(seed: int, scale: str) -> list[dict]:
    """Training loss of every stage ("light" is on the way to "aligned"): rows with `stage`, `step`, `metric` "loss",
    `value` (nats per token).

    *Shown in:* 01_raise_an_organism.
    """
    return [{"seed": seed, "stage": stage, "step": row["step"], "metric": "loss", "value": row["loss"]}
            for stage in STAGES if stage != "light" for row in training_log(stage, seed, scale)["losses"]]


@study("alignment", version=1)
def checks(seed: int, scale: str) -> list[dict]:
    """ASR and false refusals along alignment, on validation prompts: rows with `step`, `metric`, `value` (%).

    *Shown in:* 01_raise_an_organism.
    """
    return [{"seed": seed, "step": check["step"], "metric": metric, "value": 100 * check[metric]}
            for check in training_log("aligned", seed, scale)["checks"] for metric in ("asr", "asr_unseen", "refused")]

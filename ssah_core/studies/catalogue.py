"""All studies by their names: what can be verified, and whose rows a folder of measurements holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records.measurements import Run
from ..records.study import by_name
from . import (
    ablation_table,
    activation_patching,
    alignment_budget,
    attribute_transfer,
    criteria,
    finetuning_arms,
    granularity,
    judges_beside,
    peft_attack,
    prefill_depth,
    reader,
    reasoning_direction,
    rebuilding,
    recovery_and_guard,
    specificity,
    stability,
    stages,
    worst_rate,
)

STUDIES = by_name((
    stages.losses, stages.stages, stages.checks, stages.dose, reasoning_direction.distances, reasoning_direction.lens,
    reasoning_direction.probes, activation_patching.patches, activation_patching.depth, ablation_table.compare_choices,
    ablation_table.ablation_curves, ablation_table.places, ablation_table.table1,
    finetuning_arms.attacked, attribute_transfer.transfers, granularity.compared, peft_attack.rates,
    peft_attack.compared, alignment_budget.aligned, alignment_budget.aligned_primary, recovery_and_guard.arms,
    recovery_and_guard.guard_speed, prefill_depth.units, criteria.compared, stability.overlaps, specificity.broken,
    specificity.few, rebuilding.rebuilt, rebuilding.hardened, rebuilding.restored,
    judges_beside.beside, reader.read, worst_rate.attacked))
TIMED = tuple(name for name, function in STUDIES.items() if function.study.clock)
"""Studies whose numbers are times, which are not verified."""


def study_named(name: str) -> str:
    """The study of a name with a variant. Raises ValueError if this code has none.

    >>> study_named("peft/rates/lora")
    'peft/rates'
    """
    parts = name.split("/")
    for n in range(len(parts), 0, -1):
        if "/".join(parts[:n]) in STUDIES:
            return "/".join(parts[:n])
    raise ValueError(f"rows of {name!r} are of no study of this code: move them away, or update the code")


def run_of(identity: Mapping[str, Any]) -> Run:
    """The run that would measure kept rows again, from their identity."""
    study = study_named(identity["study"])
    variant = identity["study"].removeprefix(study).removeprefix("/")
    return Run(STUDIES[study], identity["seed"], identity["scale"], variant, identity["settings"])

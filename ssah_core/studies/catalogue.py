"""All studies by their names: what can be verified, and whose rows a folder of measurements holds."""

from __future__ import annotations

from ..records.study import by_name
from . import (
    ablation_table,
    activation_patching,
    alignment_budget,
    attribute_transfer,
    finetuning_arms,
    finetuning_attack,
    granularity,
    peft_attack,
    prefill_depth,
    reasoning_direction,
    recovery_and_guard,
    stages,
)

STUDIES = by_name((
    stages.losses, stages.stages, stages.checks, stages.dose, reasoning_direction.distances, reasoning_direction.lens,
    reasoning_direction.probes, activation_patching.patches, activation_patching.depth, ablation_table.compare_choices,
    ablation_table.ablation_curves, ablation_table.places, ablation_table.table1, finetuning_attack.strength,
    finetuning_arms.attacked, attribute_transfer.transfers, granularity.compared, peft_attack.rates, peft_attack.compared,
    alignment_budget.aligned, recovery_and_guard.arms, recovery_and_guard.guard_speed, prefill_depth.units))
TIMED = ("guard_speed",)
"""Studies whose numbers are times of a clock: no two runs give the same, so they are not verified."""

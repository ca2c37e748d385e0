"""ssah: the Superficial Safety Alignment Hypothesis, as code to rerun and to use on models of your own."""

from .ablation import ablate
from .claims import list_claims, verdicts
from .distributed import (check_frozen_sharded, collect_sharded, freeze_sharded, gather_state, local_state,
                          merge_moments, shard)
from .entries import FrozenReport, check_frozen, rewind
from .executors import dask_executor, map_runs, slurm_executor
from .freezing import freeze, train_only
from .generation import complete
from .guard import DirectionGuard
from .importance import Moments, Scores, batches, collect, score_units
from .judges import judge, list_judges, rate
from .lens import logit_lens
from .masks import UnitKind, UnitLabels, UnitMask, random_like
from .measurements import measure, measure_each
from .models import load
from .organism import World, load_organism, raise_organism
from .patching import patch_decisions
from .placement import load_placed, score_in_blocks
from .probing import intent_residual, reasoning_direction
from .readout import fit_readout, linear_probe
from .records import Record, load_records, record, record_rows
from .selfcheck import check_units
from .statistics import mean_interval, paired_difference, wilson
from .taxonomy import label_units, overlap, transfer
from .units import UnitMap

__all__ = [
    "DirectionGuard", "FrozenReport", "Moments", "Record", "Scores", "UnitKind", "UnitLabels", "UnitMap",
    "UnitMask", "World", "ablate", "batches", "check_frozen", "check_frozen_sharded", "check_units", "collect",
    "collect_sharded", "complete", "dask_executor", "fit_readout", "freeze", "freeze_sharded", "gather_state",
    "intent_residual", "judge", "label_units", "linear_probe", "list_claims", "list_judges", "load",
    "load_organism", "load_placed", "load_records", "local_state", "logit_lens", "map_runs", "mean_interval",
    "measure", "measure_each", "merge_moments", "overlap", "paired_difference", "patch_decisions", "raise_organism",
    "random_like", "rate", "reasoning_direction", "record", "record_rows", "rewind", "score_in_blocks",
    "score_units", "shard", "slurm_executor", "train_only", "transfer", "verdicts", "wilson",
]

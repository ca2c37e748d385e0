"""ssah: the Superficial Safety Alignment Hypothesis, as code to rerun and to use on models of your own."""

from . import keyword_lists  # noqa: F401  its judges have names once it is imported
from .ablation import ablate
from .claims import list_claims, verdicts
from .classifiers import Classifier, harmbench_classifier, llama_guard
from .completions import complete_to, load_completions, own_refusals
from .data import count_data, list_data, load_data
from .distributed import (check_frozen_sharded, collect_sharded, freeze_sharded, gather_state, local_state,
                          merge_moments, shard)
from .entries import FrozenReport, check_frozen, rewind
from .evaluation import TokenPerplexity, evaluate, token_perplexity
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
from .published import on_model  # studies find the subjects of scale "paper" once it is imported
from .readout import fit_readout, linear_probe
from .records import Record, load_records, record, record_rows
from .selfcheck import check_units
from .splits import disjoint
from .statistics import mean_interval, paired_difference, wilson
from .taxonomy import label_units, overlap, transfer
from .units import UnitMap

__all__ = [
    "Classifier", "DirectionGuard", "FrozenReport", "Moments", "Record", "Scores", "TokenPerplexity", "UnitKind",
    "UnitLabels", "UnitMap", "UnitMask", "World", "ablate", "batches", "check_frozen", "check_frozen_sharded",
    "check_units", "collect", "collect_sharded", "complete", "complete_to", "count_data", "dask_executor",
    "disjoint", "evaluate", "fit_readout", "freeze", "freeze_sharded", "gather_state", "harmbench_classifier",
    "intent_residual", "judge", "label_units", "linear_probe", "list_claims", "list_data", "list_judges",
    "llama_guard", "load", "load_completions", "load_data", "load_organism", "load_placed", "load_records",
    "local_state", "logit_lens", "map_runs", "mean_interval", "measure", "measure_each", "merge_moments", "on_model",
    "overlap", "own_refusals", "paired_difference", "patch_decisions", "raise_organism", "random_like", "rate",
    "reasoning_direction", "record", "record_rows", "rewind", "score_in_blocks", "score_units", "shard",
    "slurm_executor", "token_perplexity", "train_only", "transfer", "verdicts", "wilson",
]

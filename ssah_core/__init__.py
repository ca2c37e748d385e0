"""ssah: the Superficial Safety Alignment Hypothesis, as code to rerun and to use on models of your own."""

from .ablation import ablate
from .claims import list_claims, verdicts
from .entries import FrozenReport, check_frozen, rewind
from .freezing import freeze, train_only
from .generation import complete
from .importance import Moments, Scores, batches, collect, score_units
from .judges import judge, list_judges, rate
from .masks import UnitKind, UnitLabels, UnitMask, random_like
from .measurements import measure, measure_each
from .models import load
from .organism import World, load_organism, raise_organism
from .records import Record, load_records, record, record_rows
from .selfcheck import check_units
from .statistics import mean_interval, paired_difference, wilson
from .taxonomy import label_units, overlap, transfer
from .units import UnitMap

__all__ = [
    "FrozenReport", "Moments", "Record", "Scores", "UnitKind", "UnitLabels", "UnitMap", "UnitMask", "World", "ablate",
    "batches", "check_frozen", "check_units", "collect", "complete", "freeze", "judge", "label_units", "list_claims",
    "list_judges", "load", "load_organism", "load_records", "mean_interval", "measure", "measure_each", "overlap",
    "paired_difference", "raise_organism", "random_like", "rate", "record", "record_rows", "rewind", "score_units",
    "train_only", "transfer", "verdicts", "wilson",
]

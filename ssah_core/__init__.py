"""ssah: the Superficial Safety Alignment Hypothesis, as code to rerun and to use on models of your own."""

from .ablation import ablate
from .claims import list_claims, verdicts
from .generation import complete
from .importance import Moments, Scores, batches, collect, score_units
from .judges import judge, list_judges, rate
from .masks import UnitKind, UnitLabels, UnitMask, random_like
from .models import load
from .organism import World, load_organism, raise_organism
from .records import Record, load_records, measure, measure_each, record, record_rows
from .selfcheck import check_units
from .statistics import mean_interval, paired_difference, wilson
from .taxonomy import label_units, overlap, transfer
from .units import UnitMap

__all__ = [
    "Moments", "Record", "Scores", "UnitKind", "UnitLabels", "UnitMap", "UnitMask", "World", "ablate", "batches",
    "check_units", "collect", "complete", "judge", "label_units", "list_claims", "list_judges", "load", "load_organism",
    "load_records", "mean_interval", "measure", "measure_each", "overlap", "paired_difference", "raise_organism",
    "random_like", "rate", "record", "record_rows", "score_units", "transfer", "verdicts", "wilson",
]

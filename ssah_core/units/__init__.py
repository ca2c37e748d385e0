"""units."""

from .ablation import ablate
from .attribution import refusal_odds, search
from .importance import Moments, Scores, batches, collect, column_norms, score_units
from .labels import label_units, transfer
from .masks import UnitKind, UnitLabels, UnitMask, random_like, share_to_count, split_sites, top_units
from .unit_map import UnitMap

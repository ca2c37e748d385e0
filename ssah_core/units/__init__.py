"""Units and their kinds (paper, Section 3): a model in; its units, scores, labels and masks out; their removal."""

from . import files, show
from .ablation import ablate
from .attribution import effects, fall_over_change, log_likelihood, refusal_odds, search
from .check_units import check_architecture, known_units
from .files import describe, read_about
from .importance import Scores, column_norms, score_units
from .labels import check_shares, label_units, overlap, transfer
from .masks import UnitKind, UnitLabels, UnitMask, check_mask, share_to_count, split_sites, top_units
from .moments import Moments, batches, collect
from .random_units import random_like
from .score_in_blocks import score_in_blocks
from .unit_map import UnitMap

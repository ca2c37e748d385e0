"""freezing."""

from .freeze import freeze, train_only
from .weight_slices import Split, check_frozen, rewind, split_weights

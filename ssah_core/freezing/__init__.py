"""Hold units while a model trains, or train them alone (paper, Tables 2 to 4).

A model and a mask in; a context in which whatever trains the model leaves what is frozen as it was, bit for bit; and
the proof of it.
"""

from .freeze import freeze, train_only
from .report import FrozenChanged, FrozenReport
from .weight_slices import Split, check_frozen, rewind, split_weights

"""generation."""

from .complete import complete
from .completions import complete_to
from .gcg import find_suffix
from .prefill import complete_after

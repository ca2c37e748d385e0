"""Completions: prompts in, rows with a `response` out, stored where they should last; prefilled, or after a suffix."""

from .complete import VERSION as COMPLETIONS_VERSION
from .complete import complete
from .completions import complete_to, load_completions
from .gcg import find_suffix
from .prefill import complete_after

"""records."""

from .measurements import SCALES, slug, wished_dtype

"""data."""

from .catalogue import SOURCES
from .load import load_data
from .splits import near_duplicates, split_of

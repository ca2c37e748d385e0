"""Named data sets, from local files or the hub: names in, rows of `prompt`, `response`, `answer` out."""

from .catalogue import SOURCES
from .columns import check_columns
from .load import NotToBeHad, count_data, first_to_be_had, list_data, load_data
from .splits import near_duplicates, split_of

"""Numbers that outlive a run: rows measured once, records that claims are judged by, verdicts and the report."""

from .content import digest, noting, rests_on
from .dtypes import DTYPES, TRAINED_DTYPES
from .measurements import SCALES, measure_each, slug, wished_dtype
from .records import Record, load_records, record, record_rows
from .statistics import mean_interval, paired_difference, wilson
from .study import study

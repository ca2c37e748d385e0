"""Numbers that outlive a run: rows measured once, records that claims are judged by, verdicts and the report."""

from .content import digest, file_digest, noting, rests_on
from .emptying import remove_stored, select
from .measurements import SCALES, is_checkpoint, measure_each, slug
from .records import Record, load_records, record, record_rows
from .statistics import mean_interval, paired_difference, wilson
from .stored import Stored, list_stored
from .study import study
from .wishes import (
    DTYPES,
    NO_THINKING,
    TODAY,
    TRAINED_DTYPES,
    parse_template_kwargs,
    wished_dtype,
    wished_template_kwargs,
    wishes,
)

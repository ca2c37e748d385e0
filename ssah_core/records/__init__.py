"""Numbers that outlive a run: rows measured once, records that claims are judged by, verdicts and the report."""

from .claim_list import Claim, list_claims
from .content import digest, noting, rests_on
from .dtypes import DTYPES, TRAINED_DTYPES
from .executors import dask_executor, map_runs, slurm_executor
from .measurements import SCALES, measure_each, slug, wished_dtype
from .records import Record, load_records, record, record_rows
from .statistics import Interval, mean_interval, paired_difference, wilson
from .study import study
from .verdicts import verdicts

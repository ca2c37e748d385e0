"""A real chat model of 135 million parameters, from the package index, and its alignment: what a CPU can hold."""

from ..models import package_index
from .align import METHODS, STAGES, checkpoint, load_smollm
from .judge import fluent_judge
from .names import NAME, checkpoints_of, folders_of
from .ready import check_ready

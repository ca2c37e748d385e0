"""A real chat model of 135 million parameters, from the package index, and its alignment: what a CPU can hold."""

from .align import METHODS, STAGES, checkpoint, load_smollm
from .judge import fluent_judge
from .package_index import HUB, published

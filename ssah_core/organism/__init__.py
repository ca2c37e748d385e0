"""The model organism: an invented world, and a small chat model raised in it."""

from .raise_ import SCALES, STAGES, get_scale, load_organism, raise_organism, training_log
from .world import World

__all__ = ["SCALES", "STAGES", "World", "get_scale", "load_organism", "raise_organism", "training_log"]

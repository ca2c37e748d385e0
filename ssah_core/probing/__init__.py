"""The reasoning direction (paper, Section 2): a model and queries in; distances, probes and decisions that flip out."""

from .activation_patching import Flips, patch_decisions
from .distances import LENGTHS, Distances, intent_residual, reasoning_direction
from .guard import DirectionGuard
from .linear_probe import Readout, fit_readout, linear_probe, signals
from .logit_lens import logit_lens

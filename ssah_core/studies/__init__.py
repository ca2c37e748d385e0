"""What the notebooks measure: one module a finding. Each function takes a seed and a scale and returns tidy rows.

A row is one measured number: `metric`, `value`, `n`, `judge`, and what it was measured on. Nothing here draws, records
or judges a claim.
"""

from .checkpoints import on_model
from .subject import WAYS, Subject

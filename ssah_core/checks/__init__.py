"""Checks of a reader's own answers to the exercises (notebooks/exercises): an answer in; right or not, and a hint, out.

The solution is never shown. An exercise calls a check in its last cell, in view of the reader:
`print(same(answer, expected, hint))`.
"""

from .arrays import same
from .fresh import fresh

"""Panels to play with in notebooks 00 and 03: widgets where a kernel runs, and words and tables everywhere else.

A panel is the last line of a notebook's cell. It measures nothing that is kept, and nothing else needs it: a notebook
that runs without anybody at it shows the tables that the panel begins with.
"""

from .curves_panel import CurvesPanel
from .edits import Edit, Edits
from .removal_panel import RemovalPanel

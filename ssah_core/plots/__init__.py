"""Figures: each function draws from a table alone, so that a figure can be drawn again without a model.

`draw("name", plot_function, table, alt="...")` draws, keeps `figures/name.svg`, `.png` and the `.json` it was drawn
from, and shows in a notebook; `sketch` draws one that is kept nowhere. Colours are meanings (`style`); organisms are
dots, means have intervals (`marks`). The sentences beside a figure are written by `ssah_core.records.prose`.
"""

from .attack import changes_against, plot_arms, plot_attack
from .benchmarks import plot_benchmarks
from .beside import plot_beside, plot_real_curves
from .budget import plot_budget_arms, plot_moved, plot_speed, plot_tradeoff
from .conditions import plot_conditions, plot_courses
from .depth import plot_curves_of_attacks, plot_prefills, plot_price, plot_signals, plot_wrappers
from .diagram import four_kinds, plot_unit_diagram
from .drawing import draw, sketch
from .peft import plot_against_loss, plot_rates
from .probing import plot_depth, plot_flip_map, plot_flips, plot_gaps, plot_leans, plot_lens, plot_probes
from .removal import plot_choices, plot_curves, plot_removal, plot_share, plot_table1
from .stages import plot_alignment, plot_dose, plot_losses, plot_stages
from .style import ARMS, look, looks
from .transfer import plot_moves, plot_transfer, plot_transfer_table
from .units import plot_distributions, plot_places, plot_plane

"""The claims of one notebook beside what was measured, as a table for people."""

from __future__ import annotations

import pandas

from .markdown import as_table
from .prose import DECIMALS, bracketed, number

_HEADER = ("what is claimed", "the paper", "ours [95 % interval]", "its control", "measured on", "verdict")


def verdict_table(verdicts: pandas.DataFrame, notebook: str) -> str:
    """The claims of one notebook beside what was measured, as a table in Markdown.

    verdicts   as `ssah.verdicts` returns them
    notebook   its name without ".ipynb"

    Raises ValueError if no claim names the notebook.

    >>> import ssah_core as ssah
    >>> from ssah_core.records.claims_table import verdict_table
    >>> print(verdict_table(ssah.verdicts([]), "03_label_units").splitlines()[0])
    | what is claimed | the paper | ours [95 % interval] | its control | measured on | verdict |

    *Shown in:* 03_label_units.
    """
    rows = verdicts[verdicts.notebook == notebook]
    if rows.empty:
        known = ", ".join(dict.fromkeys(verdicts.notebook))
        raise ValueError(f"notebook is {notebook!r}, which no claim names: pass one of {known}")
    return as_table(_HEADER, (_cells(row) for row in rows.itertuples(index=False)))


def _cells(row) -> tuple[str, ...]:
    paper = "; ".join(f"{number(value, row.unit)} ({model})" for model, value in row.paper.items()) or "no number"
    verdict = f"**{row.verdict}**"
    claim = row.statement + (f" ({row.source})" if row.source.startswith(("Table", "Figure")) else "")
    if not row.seeds:
        return claim, paper, "–", "–", "–", verdict
    ours = f"{number(row.ours, row.unit)} {bracketed(row.interval, len(row.seeds), DECIMALS[row.unit])}"
    control = number(row.control, row.unit)
    judge = "" if row.judge == "none" else f", judge {row.judge}"
    return claim, paper, ours, control, f"{_runs(row)}, {row.n} prompt{'s' * (row.n != 1)} each{judge}", verdict


def _runs(row) -> str:
    what = f"{len(row.seeds)} {'organism' if row.model == 'organism' else 'run'}{'s' * (len(row.seeds) > 1)}"
    return what if row.model == "organism" else f"{what} of {row.model}"

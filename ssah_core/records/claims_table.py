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
    bounds = bracketed(row.interval, len(row.seeds), DECIMALS[row.unit], repeats(row.model))
    ours = f"{number(row.ours, row.unit)} {bounds}"
    control = number(row.control, row.unit)
    judge = "" if row.judge == "none" else f", judge {row.judge}"
    n = f"{runs(row.model, len(row.seeds))}, {row.n} prompt{'s' * (row.n != 1)} each{judge}"
    return claim, paper, ours, control, n, verdict


def runs(model: str, n: int) -> str:
    """So many organisms, or runs of a checkpoint.

    >>> runs("organism", 20), runs("Qwen/Qwen2.5-7B-Instruct", 1)
    ('20 organisms', '1 run of Qwen/Qwen2.5-7B-Instruct')
    """
    name = repeats(model) if n > 1 else repeats(model)[:-1]
    return f"{n} {name}" if model == "organism" else f"{n} {name} of {model}"


def repeats(model: str) -> str:
    """What is counted as one: organisms, or runs of a checkpoint."""
    return "organisms" if model == "organism" else "runs"

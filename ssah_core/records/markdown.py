"""Tables as Markdown writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar within a cell is told from one between cells.

    >>> from ssah_core.records.markdown import as_table
    >>> print(as_table(("claim", "verdict"), [("a|b", "holds")]))
    | claim | verdict |
    | --- | --- |
    | a\\|b | holds |
    """
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)

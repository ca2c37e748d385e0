"""How objects of units show themselves: one line of text, and in a notebook a small table whatever the model's size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

ROWS = 12
KINDS = 3
WIDEST = 24
TITLE = 200
"""Rows, kinds of site, and letters of a name and of a title that a table shows; more are folded or cut."""
Share = tuple[int, int]
"""How many, and of how many."""
STYLE = ("<style>.ssah td,.ssah th{text-align:right}.ssah i{display:block;height:3px;background:#4c72b0}"
         ".ssah small{color:#777}</style>")


def percent(count: int, whole: int) -> str:
    """A share as people write it.

    >>> percent(1, 8), percent(0, 0)
    ('12.5%', '0.0%')
    """
    return f"{100 * count / whole if whole else 0:.1f}%"


def share(count: int, whole: int, noun: str = "") -> str:
    """A count, what it is of, and its share.

    >>> share(1, 8000), share(1, 2, " units")
    ('1 of 8,000 (0.0%)', '1 of 2 units (50.0%)')
    """
    return f"{count:,} of {whole:,}{noun} ({percent(count, whole)})"


def by_kind(counts: Mapping[str, int]) -> dict[str, int]:
    """Sums over the sites of one kind, at most `KINDS` kinds and all others together.

    >>> by_kind({"attn.0": 1, "mlp.0": 2, "attn.1": 3})
    {'attn': 4, 'mlp': 2}
    """
    kinds = _kinds(counts)
    found = dict.fromkeys(kinds, 0)
    for site, count in counts.items():
        found[_kind(site, kinds)] += count
    return found


def shares_by_kind(counts: Mapping[str, int], sizes: Mapping[str, int]) -> str:
    """Shares of every kind of site, as text.

    >>> shares_by_kind({"attn.0": 1, "mlp.0": 2}, {"attn.0": 8, "mlp.0": 8})
    'attn 1 of 8 (12.5%), mlp 2 of 8 (25.0%)'
    """
    whole = by_kind(sizes)
    return ", ".join(f"{kind} {share(count, whole[kind])}" for kind, count in by_kind(counts).items())


def counts_by_kind(sizes: Mapping[str, int]) -> str:
    """Units of every kind of site, as text.

    >>> counts_by_kind({"attn.0": 8, "mlp.0": 2000})
    '2,008 units (attn 8, mlp 2,000)'
    """
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in by_kind(sizes).items())
    return f"{sum(sizes.values()):,} units ({kinds})"


def table(title: str, heads: Sequence[str], rows: Mapping[str, Sequence[Share]]) -> str:
    """An HTML table of shares, each with its bar. All text is escaped.

    title   Stands above it.
    heads   One a column.
    rows    What stands at the left of a row, and its shares, one a column.

    >>> "<td>1 <small>50.0%</small><i style=width:50%></i>" in table("Units & kinds", ["mlp"], {"block 0": [(1, 2)]})
    True
    """
    head = "".join(f"<th>{_text(name)}" for name in ("", *heads))
    body = "".join(f"<tr><th>{_text(name)}" + "".join(map(_cell, shares)) for name, shares in rows.items())
    return f"{STYLE}<table class=ssah><caption>{escape(title[:TITLE])}</caption><tr>{head}{body}</table>"


def table_by_block(title: str, counts: Mapping[str, int], whole: Mapping[str, int] | int) -> str:
    """An HTML table of sites: rows are blocks, folded to at most `ROWS`, and columns kinds of site.

    counts   site -> how many.
    whole    Of how many: site -> number, or one number for every cell.

    >>> table_by_block("Units", {"mlp.0": 1, "mlp.1": 1}, {"mlp.0": 2, "mlp.1": 4}).count("<tr>")  # head, two, all
    4
    """
    kinds, rows = _kinds(counts), _fold(_block(site) for site in counts)
    of = whole if isinstance(whole, Mapping) else dict.fromkeys(counts, 0)
    cells = {row: dict.fromkeys(kinds, (0, 0)) for row in (*rows.values(), "all")}
    for site, count in counts.items():
        for row in (rows[_block(site)], "all"):
            n, size = cells[row][_kind(site, kinds)]
            cells[row][_kind(site, kinds)] = n + count, size + of[site]
    return table(title, kinds, {row: [(n, size if isinstance(whole, Mapping) else whole) for n, size in shares.values()]
                                for row, shares in cells.items()})


def _kinds(sites: Iterable[str]) -> list[str]:
    kinds = list(dict.fromkeys(site.partition(".")[0] for site in sites))
    return kinds if len(kinds) <= KINDS else [*kinds[:KINDS - 1], "other"]


def _kind(site: str, kinds: Sequence[str]) -> str:
    kind = site.partition(".")[0]
    return kind if kind in kinds else "other"


def _block(site: str) -> int:
    number = site.rpartition(".")[2]
    return int(number) if number.isdecimal() and len(number) < 9 else 0


def _fold(blocks: Iterable[int]) -> dict[int, str]:
    """Block -> the name of its row."""
    numbers = sorted(set(blocks))
    wide = -(-len(numbers) // ROWS) or 1  # blocks a row, rounded up
    parts = [numbers[at:at + wide] for at in range(0, len(numbers), wide)]
    return {block: f"block {part[0]}" + (f"–{part[-1]}" if part[1:] else "") for part in parts for block in part}


def _cell(share: Share) -> str:
    count, whole = share
    wide = round(100 * count / whole) if whole else 0
    return f"<td>{count:,} <small>{percent(count, whole)}</small><i style=width:{wide}%></i>"


def _text(name: str) -> str:
    return escape(name if len(name) <= WIDEST else f"{name[:WIDEST - 1]}…")

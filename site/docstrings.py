"""Docstrings as this project writes them, for Sphinx: plain text, aligned lists of parameters, examples at the prompt.

A list such as

    fill      "zero": removed units contribute nothing.
    moments   Needed for "mean".

becomes a definition list, which a telephone can show; `names` become code; an example stays as it is; and *Shown in:*
leads to its notebook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

ENTRY = re.compile(r"(\s*)([^\s:][^:]*?)\s{2,}(\S.*)$")
"""A parameter and what is said of it, two spaces or more apart. "Source: ...   Departs: ..." is none, for its colon."""
OWN_LINE = ("Raises ", "Returns ", "Source:", "Departs:")
EMPHASIS = re.compile(r"(?<!\w)\*(?! )([^*\n]+?)\*(?!\w)")
NOTEBOOK = re.compile(r"\b(\d\d_[a-z_]+)\b")


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    told: list[str] = []
    for block in blocks(lines):
        if block[0].lstrip().startswith(">>>"):
            told += block
        elif ENTRY.match(block[0]):
            told += list(definitions(block))
        else:
            told += list(prose(block))
        told.append("")
    return told


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """Parts of a docstring between blank lines."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []


def prose(block: list[str]) -> Iterator[str]:
    """A paragraph; what it raises, returns and departs from in paragraphs of their own."""
    for number, line in enumerate("\n".join(block).replace("   Departs:", "\nDeparts:").split("\n")):
        if number and line.startswith(OWN_LINE):
            yield ""
        if line.startswith("*Shown in:*"):
            yield NOTEBOOK.sub(r":doc:`/notebooks/\1`", line)
        else:
            yield inline(line.strip())


def definitions(block: list[str], indent: str = "") -> Iterator[str]:
    """A list of parameters; a list inside a description stands further to the left than the description's own text."""
    depth = len(block[0]) - len(block[0].lstrip())
    at, end = 0, len(block)
    while at < end:
        more = next((n for n in range(at + 1, end) if len(block[n]) - len(block[n].lstrip()) <= depth), end)
        entry = ENTRY.match(block[at])
        term, text = entry.group(2, 3) if entry else block[at].split(None, 1)
        column = block[at].rindex(text)
        yield f"{indent}{inline(f'`{term}`')}"
        yield f"{indent}    {inline(text)}"
        rest = block[at + 1:more]
        inner = (n for n, line in enumerate(rest) if (found := ENTRY.match(line)) and len(found[1]) < column)
        nested = next(inner, len(rest))
        yield from (f"{indent}    {inline(line.strip())}" for line in rest[:nested])
        if rest[nested:]:
            yield ""
            yield from definitions(rest[nested:], f"{indent}    ")
        yield ""
        at = more


def inline(text: str) -> str:
    """A line with `code` as RST has it, *stress* kept, and whatever else RST would read as a mark made plain.

    >>> inline("`name` of *one* unit: W_:,j * |x|")
    '``name`` of *one* unit: W\\\\_:,j \\\\* \\\\|x\\\\|'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return plain(text)
    return "".join(f"``{part}``" if number % 2 else stressed(part) for number, part in enumerate(parts))


def stressed(text: str) -> str:
    """Text outside code, with its *stress* kept."""
    parts = EMPHASIS.split(text)
    return "".join(f"*{plain(part)}*" if number % 2 else plain(part) for number, part in enumerate(parts))


def plain(text: str) -> str:
    """Text in which RST sees no mark."""
    return re.sub(r"([\\*_|`])", r"\\\1", text)

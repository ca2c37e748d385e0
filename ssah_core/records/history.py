"""What was tried before the registration, with its numbers: told in the report, from a file."""

from __future__ import annotations

from . import cache, paths


def told() -> str:
    """The history in Markdown: a heading, and one line an entry of `figures/history.json`; nothing where there is none.

    Each entry has `date`, `what` (was done or found, its numbers in it) and `why` it counts no more.
    """
    file = paths.committed() / "history.json"
    if not file.is_file():
        return ""
    lines = [f"- *{entry['date']}*: {entry['what']} {entry['why']}" for entry in cache.read_json(file)]
    return "\n".join(["## What was tried before", "", *lines])

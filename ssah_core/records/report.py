"""Write `paper_repro.md`, the paper's claims against ours, from the committed records alone.

    python -m ssah_core.records.report             write it
    python -m ssah_core.records.report --check     write nothing; exit with 1 if the file is stale

Only the text between the two markers is written; prose around them stays.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence

import pandas

from . import paths
from .records import load_records
from .statistics import VERDICTS
from .verdicts import RULE, verdicts

FILE = "paper_repro.md"
BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"
PREFACE = f"""# The paper's claims, and ours

This file sets what the paper says beside what this project measured. `make report` writes the part between the
markers from the records in `figures/records/`; no number in it is typed by hand.

How to read a verdict: a claim is *reproduced*, *partly* reproduced, *not reproduced* or *not run*. The rule that
decides is printed under the tables. The paper measured checkpoints of 7 to 8 billion parameters; unless a row names a
checkpoint, ours is a model organism of about a million, raised anew from every seed. Compare directions and controls,
not sizes.

{BEGIN}
{END}
"""
_HEADER = ("claim", "paper", "ours: mean [95 % interval]", "control", "verdict", "notebook")
UNITS = ("A number with a sign is a difference in percentage points or, with three decimals, of cosine distances; one "
         "with % is a level, any other is a ratio.")
_FORMATS = {"points": "{:+.1f}", "%": "{:.1f} %", "ratio": "{:.2f}", "cosine": "{:+.3f}"}
_DECIMALS = {"points": 1, "%": 1, "ratio": 2, "cosine": 3}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Raises ValueError if the file has lost a marker."""
    parser = argparse.ArgumentParser(prog="python -m ssah_core.records.report", description=f"Write {FILE} from the records.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file is stale")
    chosen = parser.parse_args(argv)
    return _check() if chosen.check else _write()


def _current() -> str | None:
    file = paths.root() / FILE
    return file.read_text(encoding="utf-8") if file.exists() else None


def _expected(current: str | None) -> str:
    return insert(PREFACE if current is None else current, render(verdicts(load_records())))


def _check() -> int:
    current = _current()
    if current == _expected(current):
        return 0
    print(f"{FILE} does not follow from the records: run `make report`", file=sys.stderr)
    return 1


def _write() -> int:
    (paths.root() / FILE).write_text(_expected(_current()), encoding="utf-8", newline="\n")
    return 0


def insert(text: str, body: str) -> str:
    """Text with `body` between its two markers. Raises ValueError unless each marker stands there once, in order."""
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{FILE} needs one {BEGIN!r} and, after it, one {END!r}: put them back, or delete the file")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{body}\n{END}{rest.split(END)[1]}"


def render(table: pandas.DataFrame) -> str:
    """The report in Markdown: a count of verdicts, a table for each source, the rule. `table` is that of `verdicts`."""
    rows = list(table.itertuples(index=False))
    sources = dict.fromkeys(row.source for row in rows)
    parts = [_count([row.verdict for row in rows]), UNITS]
    parts += [f"## {source}\n\n" + _table(row for row in rows if row.source == source) for source in sources]
    return "\n\n".join([*parts, "## The rule", RULE]) + "\n"


def _count(found: Sequence[str]) -> str:
    return "Verdicts: " + ", ".join(f"{found.count(word)} {word}" for word in VERDICTS) + "."


def _table(rows: Iterable) -> str:
    lines = [_HEADER, ("---",) * len(_HEADER), *(_cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _cells(row) -> tuple[str, ...]:
    claim = f"{row.statement} (`{row.id}`: {row.rule})"
    paper = ", ".join(f"{model} {_number(value, row.unit)}" for model, value in row.paper.items()) or "not reported"
    return claim, paper, _ours(row), _control(row), row.verdict, f"[{row.notebook}](notebooks/{row.notebook}.ipynb)"


def _ours(row) -> str:
    if not row.seeds:
        return "–"
    sample = f"{row.n} prompts, {_runs(row.model, len(row.seeds))}; judge: {row.judge}"
    return f"{_number(row.ours, row.unit)} {_interval(row.interval, row.unit)} ({sample})"


def _runs(model: str, n: int) -> str:
    if model == "organism":
        return f"{n} organism" + "s" * (n > 1)
    return f"{n} run" + "s" * (n > 1) + f" of {model}"


def _control(row) -> str:
    if math.isnan(row.control):
        return "–"
    effect = f"{_number(row.effect.mean, row.unit)} {_interval(row.effect.bounds, row.unit)}"
    return f"{_number(row.control, row.unit)}; ours minus control {effect}"


def _interval(bounds: tuple[float, float] | None, unit: str) -> str:
    return "[no interval]" if bounds is None else "[" + ", ".join(_number(bound, unit) for bound in bounds) + "]"


def _number(value: float, unit: str) -> str:
    return _FORMATS[unit].format(round(value, _DECIMALS[unit]) + 0.0)  # + 0.0 turns -0.0 into 0.0


if __name__ == "__main__":
    sys.exit(main())

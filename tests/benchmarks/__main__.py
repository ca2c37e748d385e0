"""python -m tests.benchmarks [NAME ...] [--pairs N] [--compare] [--profile]: names of groups below, default all.

python -m tests.benchmarks --table writes the table of tests/README.md from what is kept, and measures nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

import pandas

import ssah_core  # noqa: F401  (before torch)
from ssah_core import plots
from ssah_core.arguments import Parser
from ssah_core.records import cache, evidence, paths

from . import generating, growth, library, organisms, page, processes
from .pairs import Ratio, shows_profiles

GROUPS: Mapping[str, Callable[[int], Iterator[Ratio]]] = {
    "scoring": library.scoring, "supervised": library.supervised, "freezing": library.freezing,
    "memory": processes.memory, "collecting": processes.collecting, "growth": growth.growth,
    "ablation": generating.ablation, "imports": processes.imports, "beside": processes.beside,
    "raising": organisms.raising, "reproduce": organisms.reproduce}
FILE = "benchmarks"
ROOM = 1.05
"""Memory that is more than so many times what is committed has become larger."""


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and keep or compare; returns the exit code: 1 where something has become slower, 2 where nothing
    could be compared."""
    parser = Parser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="NAME", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--pairs", type=int, default=7, help="pairs a ratio (default 7)")
    parser.add_argument("--compare", action="store_true", help="write nothing; fail where a ratio has become worse")
    parser.add_argument("--table", action="store_true", help="write tests/README.md's table of what is kept, no more")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, too")
    options = parser.parse_args(argv)
    shows_profiles.set(options.profile)
    unknown = [name for name in options.groups if name not in GROUPS]
    if unknown or options.pairs < 1:
        parser.error(f"{unknown[0]!r} is no group: choose of {', '.join(GROUPS)}" if unknown else
                     f"--pairs is {options.pairs}: choose 1 or more")
    if options.table:
        page.PAGE.write_text(page.filled(page.PAGE.read_text(encoding="utf-8"), committed().values()), encoding="utf-8")
        return 0
    if not processes.is_idle():
        print("the machine is busy: ratios of what takes threads will be worse than they are", file=sys.stderr)
    before, found = committed(), []
    for name in options.groups or GROUPS:
        for one in GROUPS[name](options.pairs):
            print(shown(one), flush=True)
            found.append(one)
            if not options.compare:
                keep(before, found)
    if not options.compare:
        return 0
    known = sum(one.name in before and is_compared(one) for one in found)
    worse = slower(before, found)
    print(f"{known} of {len(found)} ratios compared with those kept: {len(worse)} worse", *worse, sep="\n")
    return 2 if not known else int(bool(worse))


def shown(one: Ratio) -> str:
    """A ratio as a line for people."""
    beside = [f"{what} {value:.2f}" for what, value in (("goal", one.goal), ("floor", one.floor)) if value is not None]
    missed = " MISSED" if one.goal is not None and one.value > one.goal else ""
    interval = f"[{one.low:.3f}, {one.high:.3f}] of {one.pairs:2}"
    return f"{one.name:28} {one.value:7.3f} {interval}  {', '.join(beside)}{missed}"


def committed() -> dict[str, dict]:
    """Rows that are kept, by name."""
    file = paths.figures() / f"{FILE}.json"
    return {row["name"]: row for row in rows_of(cache.read_json(file))} if file.is_file() else {}


def rows_of(kept: Mapping) -> list[dict]:
    return pandas.DataFrame(kept["table"]).to_dict("records")


def keep(before: Mapping[str, dict], found: list[Ratio]) -> None:
    """Write the table with what was found in place of what was there, and draw it."""
    about = evidence.now()
    where = f"{about['processor']}, {about['python']}, {about['torch']}, {about['date']}"
    rows = {**before, **{one.name: {**one.row(), "where": where} for one in found}}
    table = pandas.DataFrame(list(rows.values())).astype(object)
    plots.draw(FILE, plots.plot_benchmarks, table.where(table.notna(), None))


def slower(before: Mapping[str, dict], found: list[Ratio]) -> list[str]:
    """Sentences about compared ratios that have become worse: those of pairs whose interval lies above what is
    committed, and memory, which is nearly the same each time, where it is more than `ROOM` times that."""
    return [f"{one.name} has become {'larger' if is_memory(one) else 'slower'}: {one.value:.3f} [{one.low:.3f}, "
            f"{one.high:.3f}], committed {before[one.name]['value']:.3f}" for one in found
            if one.name in before and is_compared(one)
            and one.low > before[one.name]["value"] * (ROOM if is_memory(one) else 1)]


def is_compared(one: Ratio) -> bool:
    """Whether a ratio can tell that something has become worse: six pairs have an interval, and memory needs none."""
    return one.pairs >= 6 or is_memory(one)


def is_memory(one: Ratio) -> bool:
    return one.pairs == 1 and "memory" in one.name


if __name__ == "__main__":
    sys.exit(main())

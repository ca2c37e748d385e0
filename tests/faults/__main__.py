"""Disturb runs, and see that nothing is lost: python -m tests.faults [FAULT ...] [--seed N] [--out FILE]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ssah_core.arguments import Parser

from .clock import wrong_clock
from .damage import damaged
from .determinism import determinism
from .disk import full_disk
from .kill import kill_anywhere, undisturbed
from .runs import Place
from .signals import signals
from .tell import Outcome, table, tell, write
from .together import together

FAULTS = {"kill": lambda place, whole, options: kill_anywhere(place, whole, options.each, options.seed),
          "damage": lambda place, whole, options: damaged(place, whole, options.seed),
          "disk": lambda place, whole, options: full_disk(place, whole),
          "together": lambda place, whole, options: together(place, whole),
          "clock": lambda place, whole, options: wrong_clock(place, whole),
          "signals": lambda place, whole, options: signals(place, whole),
          "determinism": lambda place, whole, options: determinism(place, whole)}
"""Name -> what tries it, on a place and beside an undisturbed run."""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns 1 if anything was lost, 2 if a fault could not be tried."""
    options = _options(argv)
    try:
        outcomes = _try(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    print(table(outcomes), f"Written to {options.out}", sep="\n\n", flush=True)
    return 1 if any(each.lost for each in outcomes) else 0 if all(each.tried for each in outcomes) else 2


def _try(options: argparse.Namespace) -> list[Any]:
    """The outcomes of the faults that are asked for."""
    place = Place(options.folder.resolve() / "place", options.scale, tuple(options.notebooks), options.workers)
    whole = place.folder.with_name(f"{place.folder.name}.undisturbed")
    if not (options.again and whole.is_dir()):
        whole = undisturbed(place)
    outcomes: list[Any] = []
    for name in options.faults or FAULTS:
        tell(f"-- {name} --")
        outcomes += FAULTS[name](place, whole, options) or [Outcome(name, "nothing to try", 0, 0)]
        write(options.out, outcomes, {"scale": options.scale, "seed": options.seed, "notebooks": options.notebooks,
                                      "workers": options.workers})
    return outcomes


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; default all")
    parser.add_argument("--scale", choices=("tiny", "organism"), default="tiny")
    parser.add_argument("--notebooks", nargs="+", default=[], metavar="NN", help="only these, such as 00 03")
    parser.add_argument("--workers", type=int, default=2, help="notebooks at once (SSAH_WORKERS)")
    parser.add_argument("--each", type=int, default=4, help="points a phase at which to kill")
    parser.add_argument("--seed", type=int, default=0, help="draws the points")
    parser.add_argument("--folder", type=Path, default=Path("runs/faults"), help="where the runs go")
    parser.add_argument("--out", type=Path, default=Path("runs/faults/faults.json"), help="where the outcomes go")
    parser.add_argument("--again", action="store_true", help="take the undisturbed run of an earlier call")
    options = parser.parse_args(argv)
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"{', '.join(sorted(unknown))} is no fault: choose from {', '.join(FAULTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())

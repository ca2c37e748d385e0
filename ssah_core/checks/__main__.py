"""Write the exercises without their solutions, or solved: python -m ssah_core.checks [FOLDER] [--solved]"""

from __future__ import annotations

import sys
from pathlib import Path

from ..arguments import Parser
from ..records import paths
from .exercises import solved, without_solutions, write_student


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 where nothing is to be written, or something is in the way."""
    parser = Parser(prog="python -m ssah_core.checks", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("student"), help="new or empty; default student")
    parser.add_argument("--solved", action="store_true", help="for a teacher: a solution in the place of every stub")
    chosen = parser.parse_args(argv)
    folder, make = chosen.folder, solved if chosen.solved else without_solutions
    try:
        files = write_student(paths.notebooks() / "exercises", folder, make)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    print(f"{folder}: {len(files)} notebooks of exercises, {'solved' if chosen.solved else 'without solutions'}; every "
          "check still works", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

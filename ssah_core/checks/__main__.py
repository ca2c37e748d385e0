"""Write the exercises for students, without their solutions: python -m ssah_core.checks [FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

from ..arguments import Parser
from ..records import paths
from .exercises import write_student


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 where nothing is to be written, or something is in the way."""
    parser = Parser(prog="python -m ssah_core.checks", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("student"), help="new or empty; default student")
    folder = parser.parse_args(argv).folder
    try:
        files = write_student(paths.notebooks() / "exercises", folder)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    print(f"{folder}: {len(files)} notebooks of exercises, without solutions; every check still works", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

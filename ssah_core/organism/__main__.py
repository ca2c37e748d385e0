"""Raise organism 0 and pack it into the package: SSAH_RAISE=1 python -m ssah_core.organism"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..arguments import Parser
from .scales import recipe
from .shipped import SCALE, SEED, pack
from .train import raise_organism


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = Parser(prog="python -m ssah_core.organism", description=__doc__)
    parser.parse_args(argv)
    if os.environ.get("SSAH_RAISE") != "1":
        parser.error("SSAH_RAISE is not 1, so that the shipped organism would be packed again: set it")
    print(f"packed: {pack(raise_organism(SEED, SCALE), recipe(SEED, SCALE))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a run on a checkpoint will need: python -m ssah_core.planning MODEL [--gpus N] [--data] [--rehearse]"""

from __future__ import annotations

import argparse
import sys

import torch

from ..records import DTYPES
from .estimate import GB, check_data, check_memory, plan
from .rehearsal import rehearse


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 where something is missing."""
    options = _options(argv)
    try:
        made = plan(options.model, options.gpus, options.dtype)
        print(made, flush=True)
        if options.rehearse:
            print(rehearse(options.model, dtype=options.dtype), flush=True)
        else:
            check_memory(made, options.memory or _memory_of_a_gpu())
            if options.data:
                print("Data:", *check_data(), sep="\n- ", flush=True)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ssah_core.planning", description=__doc__)
    parser.add_argument("model", help="a folder or a hub id")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--memory", type=float, help="GB of one GPU; default that of the one here, else 80")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--data", action="store_true", help="see that the named data sets of a run can be had")
    parser.add_argument("--rehearse", action="store_true", help="try it on random weights of the model's shape")
    return parser.parse_args(argv)


def _memory_of_a_gpu() -> float:
    return torch.cuda.mem_get_info()[1] / GB if torch.cuda.is_available() else 80.0


if __name__ == "__main__":
    sys.exit(main())

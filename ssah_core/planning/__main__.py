"""What a run on a checkpoint will need: python -m ssah_core.planning MODEL [--gpus N] [--data] [--rehearse]"""

from __future__ import annotations

import argparse
import sys

import torch

from ..arguments import Parser, check_counts, check_numbers
from ..records import DTYPES
from .estimate import GB, check_data, check_memory, plan
from .rehearsal import rehearse


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 where something is missing."""
    options = _options(argv)
    try:
        show(options.model, gpus=options.gpus, dtype=options.dtype, memory=options.memory, data=options.data,
             rehearsed=options.rehearse)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def show(model: str, *, gpus: int = 1, dtype: str = "bfloat16", memory: float | None = None, data: bool = False,
         rehearsed: bool = False) -> None:
    """Print the plan of a run, then rehearse it or see that memory and data are there.

    memory      GB of one GPU; None: that of the GPU here, else 80.
    data        See that the named data sets of a run can be had.
    rehearsed   Try it on random weights of the model's shape instead, and print where the record is.

    Raises ValueError where something is missing.
    """
    check_counts(gpus=gpus)
    if memory is not None:
        check_numbers(memory=memory)
        if memory <= 0:
            raise ValueError(f"memory={memory} holds nothing: give the GB of one GPU")
    made = plan(model, gpus, dtype)
    print(made, flush=True)
    if rehearsed:
        print(rehearse(model, dtype=dtype), flush=True)
        return
    check_memory(made, memory or _memory_of_a_gpu())
    if data:
        print("Data:", *check_data(), sep="\n- ", flush=True)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m ssah_core.planning", description=__doc__)
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

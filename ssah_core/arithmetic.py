"""How the processor adds up: set before torch is loaded, so that threads, neighbours and machines change no bit.

Two modes, as environment variables that MKL, oneDNN, OpenBLAS, OpenMP and ATen read once, when they are loaded:

strict     What `import ssah_core` sets: sums in one order, whatever the number of threads, at no cost; and threads
           that sleep while they wait, so that a busy neighbour does not hold them up.
portable   The same within AVX2, which all x86 processors of the last ten years have: the same bits on each of a maker.
           Organisms are raised, and golden rows measured, in this mode.

Not covered: ARM (Apple's among them), and GPUs. There, and between processors of two vendors, numbers before any
training agree to about 1e-5, and what a training makes of that may be another model. Nor does a mode cover sums of one
whole large tensor, which ATen splits by the number of threads. No weight, score, completion or row that we compared
takes one, but for the gates of LLaMA-Adapter, whose loss differs in the seventh digit between 1 and 2 threads.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping

STRICT: Mapping[str, str] = {"MKL_CBWR": "AUTO,STRICT", "OMP_WAIT_POLICY": "passive"}
PORTABLE: Mapping[str, str] = {"MKL_CBWR": "AVX2,STRICT", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
                               "OPENBLAS_CORETYPE": "Haswell", "OMP_WAIT_POLICY": "passive"}


_in_force = "none"


def settle() -> None:
    """Set the strict mode, unless another is set. Warns if torch was loaded before, which then has no mode at all.

    >>> settle()
    >>> mode() in ("strict", "portable")
    True
    """
    global _in_force
    if mode() != "none":
        return
    _in_force = mode_of(os.environ)
    if _in_force == "none" and "torch" in sys.modules:
        warnings.warn("torch was imported before ssah_core, so sums may differ between 1 and more threads: import "
                      "ssah_core first", stacklevel=3)
    elif _in_force == "none":
        _set({name: os.environ.get(name, value) for name, value in STRICT.items()})


def use_portable() -> None:
    """Take the portable mode in this process. Raises ValueError if torch is loaded already, which has read another."""
    if mode() != "portable" and "torch" in sys.modules:
        raise ValueError(f"the mode of arithmetic is {mode()!r}, and torch is loaded: "
                         "take the portable one before that")
    _set(PORTABLE)


def mode() -> str:
    """The mode that torch was loaded in, or will be: "portable", "strict" or "none"."""
    return _in_force


def mode_of(environment: Mapping[str, str]) -> str:
    """The mode that a process takes which starts with these environment variables.

    >>> mode_of(PORTABLE), mode_of({"MKL_CBWR": "AVX2"})
    ('portable', 'none')
    """
    for name, wanted in (("portable", PORTABLE), ("strict", STRICT)):
        if all(environment.get(variable) == value for variable, value in wanted.items()):
            return name
    return "none"


def _set(variables: Mapping[str, str]) -> None:
    global _in_force
    os.environ.update(variables)
    _in_force = mode_of(os.environ)

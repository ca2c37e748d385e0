"""How the processor adds up: set before torch is loaded, so that threads, neighbours and machines change no bit.

Two modes, as environment variables that MKL, oneDNN, OpenBLAS, OpenMP and ATen read once, when they are loaded:

strict     What `import ssah_core` sets: sums in one order, whatever the number of threads, at no cost; and threads
           that sleep while they wait, so that a busy neighbour does not hold them up.
portable   The same within AVX2, which all x86 processors of the last ten years have: the same bits on each of them.
           Organisms are raised, and golden rows measured, in this mode.

Not covered: ARM (Apple's among them), and GPUs. There, and between processors of two vendors, numbers before any
training agree to about 1e-5, and what a training makes of that may be another model.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping

STRICT: Mapping[str, str] = {"MKL_CBWR": "AUTO,STRICT", "OMP_WAIT_POLICY": "passive"}
PORTABLE: Mapping[str, str] = {"MKL_CBWR": "AVX2,STRICT", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
                               "OPENBLAS_CORETYPE": "Haswell", "OMP_WAIT_POLICY": "passive"}


def settle() -> None:
    """Set the strict mode, unless another is set. Warns if torch was loaded before, which then has no mode at all.

    >>> settle()
    >>> mode() in ("strict", "portable")
    True
    """
    if mode() == "none" and "torch" in sys.modules:
        warnings.warn("torch was imported before ssah_core, so sums may differ between 1 and more threads: import "
                      "ssah_core first", stacklevel=3)
        return
    for name, value in STRICT.items():
        os.environ.setdefault(name, value)


def mode() -> str:
    """The mode that is in force: "portable", "strict" or "none"."""
    for name, wanted in (("portable", PORTABLE), ("strict", STRICT)):
        if all(os.environ.get(variable) == value for variable, value in wanted.items()):
            return name
    return "none"

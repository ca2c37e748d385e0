"""The kernel that runs a notebook: this environment's own Python, in the arithmetic that its scale asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

from .. import arithmetic
from ..records import is_checkpoint, paths

# No progress bar ends up in an output.
ALWAYS = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def kernel_environment(scale: str) -> dict[str, str]:
    """Environment variables of a kernel: organisms are raised and measured in the portable arithmetic mode, and a
    checkpoint (`is_checkpoint`) in the mode of this process.

    >>> from ssah_core.runner.kernel import kernel_environment
    >>> kernel_environment("organism")["MKL_CBWR"]
    'AVX2,STRICT'
    >>> "MKL_CBWR" in kernel_environment("paper")
    False
    """
    return ALWAYS | _records() | _home() | ({} if is_checkpoint(scale) else dict(arithmetic.PORTABLE))


def _records() -> dict[str, str]:
    """Committed rows are not read, unless this process says otherwise by SSAH_RECORDS, as a run of one's own does."""
    return {"SSAH_RECORDS": os.environ.get("SSAH_RECORDS", "ignore")}


def _home() -> dict[str, str]:
    """A home below the cache for a user who has none that can be written to: Jupyter keeps files there."""
    if os.access(os.path.expanduser("~"), os.W_OK):
        return {}
    home = paths.cache() / "home"
    home.mkdir(exist_ok=True)
    return {"HOME": str(home)}


def kernelspec() -> dict[str, str]:
    """What a notebook says of the kernel that ran it: this environment's own, without its place on this machine.

    >>> from ssah_core.runner.kernel import kernelspec
    >>> kernelspec()
    {'name': 'python3', 'display_name': 'Python 3 (ipykernel)', 'language': 'python'}
    """
    own = get_kernel_dict()
    return {"name": "python3", "display_name": own["display_name"], "language": own["language"]}


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Environment variables as the kernel shall inherit them; put back on exit."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def manager(log: Path) -> type[AsyncKernelManager]:
    """Starts kernels of this very Python, whose own messages go to the file `log`, not across the progress bar.

    No kernelspec is looked up: one named python3 in the user's home would run another Python, and nobody would notice.
    """
    class Manager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(**get_kernel_dict())

        async def start_kernel(self, **options: Any) -> None:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w") as stderr:
                await super().start_kernel(stderr=stderr, **options)

    return Manager

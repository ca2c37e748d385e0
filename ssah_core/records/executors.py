"""Where runs are computed: on this machine, on a Dask cluster or by Slurm. All that is needed of one is `submit`.

A run is one call of one function of an importable module that keeps its result under a key of its own in the cache and
reads it back where it is there (`measure_each` does). So it may be computed anywhere that sees the same cache and
figures, twice or after an interruption; which executor computes it decides nothing but the time. Workers get the
environment variables that begin with SSAH_.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import torch
from tqdm.auto import tqdm

from . import paths


def map_runs(function: Callable, runs: Iterable[tuple], executor: Executor | None = None,
             label: str | None = None) -> list:
    """`function(*run)` for every run, beside each other; results in the order of the runs.

    function   Of a module that the workers can import.
    executor   Anything with `submit` that gives `concurrent.futures` futures: `local_executor()` (the default),
               `dask_executor(client)`, `slurm_executor(jobs)`. It is left open. The environment variable
               SSAH_EXECUTOR sets another default, see `named_executor`.
    label      Of a progress bar; None shows none.

    An exception of a run is raised here, and runs that have not begun are then cancelled.
    """
    runs = list(runs)
    if not runs:
        return []
    if executor is None:
        name = os.environ.get("SSAH_EXECUTOR") or "local"
        with _standing(len(runs)) if name == "local" else named_executor(name, len(runs)) as own:
            return map_runs(function, runs, own, label)
    environment = {name: value for name, value in os.environ.items() if name.startswith("SSAH_")}
    environment |= {"SSAH_CACHE": str(paths.cache()), "SSAH_FIGURES": str(paths.figures())}  # wherever a worker stands
    futures = [executor.submit(_run, function, run, environment) for run in runs]
    try:
        hidden = label is None or os.environ.get("TQDM_DISABLE") == "1"  # which tqdm's bar for notebooks does not heed
        for future in tqdm(as_completed(futures), desc=label, total=len(runs), unit="run", leave=False, disable=hidden):
            future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [future.result() for future in futures]


def _run(function: Callable, run: tuple, environment: Mapping[str, str]) -> Any:
    for stale in [name for name in os.environ if name.startswith("SSAH_") and name not in environment]:
        del os.environ[stale]  # of an earlier run on the same worker
    os.environ.update(environment)
    return function(*run)


def named_executor(name: str, runs: int | None = None) -> Executor:
    """An executor by name, as SSAH_EXECUTOR gives it to notebooks: "local", or "dask:tcp://host:8786" (the scheduler,
    of whatever cluster: `dask-jobqueue` starts one on Slurm and its kin). ValueError for another."""
    kind, _, address = name.partition(":")
    if kind == "local":
        return local_executor(runs)
    if kind == "dask" and address:
        return dask_executor(_client(address))
    raise ValueError(f"executor {name!r} is unknown: choose local or dask:ADDRESS (SSAH_EXECUTOR names one)")


_CLIENTS: dict[str, Any] = {}
"""Clients of Dask clusters by the scheduler's address, each with threads and a connection of its own."""


def _client(address: str) -> Any:
    """One client a scheduler, which stays for the next runs; another where it is no longer connected."""
    try:
        from dask.distributed import Client
    except ImportError:
        raise ValueError("a Dask executor needs dask.distributed, which is not installed: "
                         "pip install 'ssah[dask]'") from None
    if address not in _CLIENTS or _CLIENTS[address].status != "running":
        _CLIENTS[address] = Client(address)
    return _CLIENTS[address]


_STANDING: dict[int, ProcessPoolExecutor] = {}
"""Processes that wait for the next runs: each took seconds to import torch. By their number."""


@contextmanager
def _standing(runs: int) -> Iterator[ProcessPoolExecutor]:
    """`local_executor`, which stays for the next runs unless one of these fails."""
    workers = local_workers(runs)
    pool = _STANDING[workers] = _STANDING.get(workers) or local_executor(workers)
    try:
        yield pool
    except BaseException:
        del _STANDING[workers]
        pool.shutdown(cancel_futures=True)
        raise


def local_executor(runs: int | None = None) -> ProcessPoolExecutor:
    """Processes on this machine, which share its cores: one a core (SSAH_WORKERS sets another number), and no more
    than there are `runs`."""
    workers = local_workers(runs)
    start = multiprocessing.get_context("spawn")  # a fork would inherit torch's threads in an unknown state
    return ProcessPoolExecutor(workers, start, initializer=_begin, initargs=(workers,))


def local_workers(runs: int | None = None) -> int:
    """How many processes `local_executor` has."""
    named = os.environ.get("SSAH_WORKERS") or str(os.cpu_count() or 1)
    if not (named.isascii() and named.isdecimal()) or int(named) < 1:
        raise ValueError(f"SSAH_WORKERS is {named!r}, no number of processes: set it to 1 or more, or leave it unset")
    workers = int(named)
    return max(1, workers if runs is None else min(runs, workers))


def _begin(workers: int) -> None:
    """A worker takes its share of the cores, and ends with who started it, however that ends."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    end_with_parent()


def end_with_parent() -> None:
    """End this process with the one that started it by `multiprocessing`, however that ends."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def dask_executor(client: Any) -> Executor:
    """The workers of a Dask cluster: `dask_executor(dask.distributed.Client("tcp://..."))`. Extra "dask".

    Give each worker one thread and its share of the cores (`threads_per_worker=1`, OMP_NUM_THREADS), or one GPU.
    """
    return client.get_executor(pure=False)  # a run whose result is wanted anew is not a cached one


def slurm_executor(jobs: int, **parameters: Any) -> Executor:
    """Slurm jobs that work as Dask workers, by the package dask-jobqueue. Extra "slurm".

    jobs         How many Slurm jobs, each of which takes run after run.
    parameters   As `dask_jobqueue.SLURMCluster` names them: `cores`, `memory`, `queue`, `walltime`,
                 `job_extra_directives=["--gpus-per-node=1"]`, ...

    Raises ValueError if dask-jobqueue is not installed.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise ValueError("slurm_executor needs dask-jobqueue, which is not installed: "
                         "pip install 'ssah[slurm]'") from None
    cluster = SLURMCluster(**parameters)
    cluster.scale(jobs=jobs)
    return dask_executor(cluster.get_client())

"""Runs computed by local processes, by a Dask cluster and by Slurm's jobs: the same results, in order, once."""

import builtins
import operator
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest

from ssah_core import measure_each
from ssah_core.records import executors as executors_module
from ssah_core.records.executors import _run, dask_executor, local_executor, map_runs, named_executor, slurm_executor
from ssah_core.studies import stages

KINDS = ("local", "dask", "slurm")
SBATCH = """#!/bin/sh
job=$(mktemp -p "$(dirname "$0")")  # as sbatch does: its caller removes the script at once
cp "$1" "$job"
nohup sh "$job" > "$job.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
pkill -P "$1"; kill "$1"
"""


@pytest.fixture(scope="module")
def executors(tmp_path_factory):
    """One executor of a kind, made when it is first asked for and closed at the end."""
    made = {}

    def get(kind: str) -> Executor:
        if kind not in made:
            made[kind] = {"local": _local, "dask": _dask, "slurm": _slurm}[kind](tmp_path_factory)
        return made[kind][0]

    with pytest.MonkeyPatch.context() as patch:  # jobs are processes of their own, which look for ssah_core
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield get
        for executor, *others in made.values():
            executor.shutdown(cancel_futures=True)
            for other in others:
                other.close()


def _local(folders):
    return local_executor(2),


def _dask(folders):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed (extra 'dask')")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                                       local_directory=str(folders.mktemp("dask")))
    client = distributed.Client(cluster)
    return _Left(dask_executor(client)), client, cluster


def _slurm(folders):
    """Slurm's commands, played by two scripts that start a job as a process of this machine, and stop it."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed (extra 'slurm')")
    commands = folders.mktemp("slurm")
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    os.environ["PATH"] = f"{commands}{os.pathsep}{os.environ['PATH']}"
    executor = slurm_executor(1, cores=1, memory="2GB", interface="lo", local_directory=str(commands),
                              scheduler_options={"dashboard_address": None})
    return _Left(executor), executor._client, executor._client.cluster


class _Left(Executor):
    """Dask's executor knows no cancel_futures."""

    def __init__(self, executor):
        self.submit = executor.submit


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_in_the_order_of_the_runs(kind, executors, cache):
    assert map_runs(divmod, [(7, 2), (9, 4)], executors(kind)) == [(3, 1), (2, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_workers_see_the_callers_settings(kind, executors, cache, monkeypatch):
    monkeypatch.setenv("SSAH_RECORDS", "ignore")
    seen, = map_runs(os.path.expandvars, [("$SSAH_CACHE $SSAH_FIGURES $SSAH_RECORDS",)], executors(kind))
    assert seen == f"{cache} {cache.parent / 'figures'} ignore"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_run_is_the_callers(kind, executors, cache):
    with pytest.raises(Exception, match="division by zero"):
        map_runs(operator.truediv, [(1, 0)], executors(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_organisms_are_measured_once_wherever_that_is(kind, executors, cache):
    there = measure_each(stages.losses, [1], "tiny", executor=executors(kind))
    assert there.seed.unique().tolist() == [1]
    again = measure_each(stages.losses, [1], "tiny", executor=_Refusing())
    pandas.testing.assert_frame_equal(again, there)


class _Refusing(Executor):
    def submit(self, function, /, *args, **kwargs):
        raise AssertionError("submitted again")


def test_what_has_not_begun_is_cancelled_after_an_error(cache):
    begun = []
    with ThreadPoolExecutor(1) as one, pytest.raises(ValueError, match="invalid literal"):
        map_runs(lambda text: begun.append(text) or int(text), [("x",)] + [("1",)] * 50, one)
    assert len(begun) < 51


def test_local_processes_stay_for_the_next_runs_until_one_fails(cache, monkeypatch):
    monkeypatch.setenv("SSAH_WORKERS", "2")
    runs = [()] * 8
    first, second = (set(map_runs(os.getpid, runs)) for _ in range(2))
    assert os.getpid() not in first and len(first | second) <= 2
    with pytest.raises(ZeroDivisionError):
        map_runs(operator.floordiv, [(1, 0), (1, 1)])
    assert not first & set(map_runs(os.getpid, runs))


def test_a_worker_forgets_the_settings_of_an_earlier_run(cache, monkeypatch):
    monkeypatch.setenv("SSAH_OF_OLD", "1")  # put back afterwards, with the others
    assert _run(os.getenv, ("SSAH_OF_OLD",), {"SSAH_CACHE": str(cache)}) is None
    assert os.environ["SSAH_CACHE"] == str(cache) and "SSAH_FIGURES" not in os.environ


def test_no_runs_need_no_executor():
    assert map_runs(divmod, [], _Refusing()) == []


def test_a_scheduler_has_one_client_until_that_is_closed(monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is not installed (extra 'dask')")
    made, closed = [], SimpleNamespace(status="closed")
    monkeypatch.setattr("dask.distributed.Client", lambda address: made.append(address) or SimpleNamespace(
        status="running", get_executor=lambda pure: address))
    monkeypatch.setattr(executors_module, "_CLIENTS", {"tcp://old:1": closed})
    for address in ("tcp://new:1", "tcp://new:1", "tcp://old:1"):
        assert named_executor(f"dask:{address}") == address
    assert made == ["tcp://new:1", "tcp://old:1"]


@pytest.mark.parametrize("name", ["ray", "dask", "dask:", "slurm:gpus=1", ""])
def test_an_unknown_executor_is_refused(name):
    with pytest.raises(ValueError, match="is unknown: choose local or dask:ADDRESS"):
        named_executor(name)


@pytest.mark.parametrize("module, make", [("dask_jobqueue", lambda: slurm_executor(1, cores=1, memory="1GB")),
                                          ("dask.distributed", lambda: named_executor("dask:tcp://nowhere:1"))])
def test_an_extra_that_is_not_installed_is_named(module, make, monkeypatch):
    real = builtins.__import__

    def without(imported, *args, **kwargs):
        if imported == module:
            raise ImportError(imported)
        return real(imported, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"not installed: pip install 'ssah\[(slurm|dask)\]'"):
        make()

"""Notebooks beside each other, a process a core: small matrices make little use of a second thread, and in the portable
arithmetic no sum depends on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..records.executors import end_with_parent
from .run_notebook import NotebookFailed
from .stopping import no_room, stoppable
from .up_to_date import bring_up_to_date

FIRST = ("03", "02", "07", "05", "08", "04", "06")
"""Notebooks that begin first, the long ones: so that cores end together, and what 03 measures is there for others."""
PATIENCE = 60
"""Seconds that a notebook's process may take to end its kernel, when it is stopped."""


class _Lines:
    """A stdout whose lines are sent, since two processes that write to one terminal write across each other."""

    def __init__(self, pipe: Connection):
        self.pipe, self.begun = pipe, ""

    def write(self, text: str) -> None:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            self.pipe.send(("said", line))

    def flush(self) -> None:
        pass


def run_beside(plan: Mapping[Path, Mapping[str, Any]], folder: Path, jobs: int) -> list[NotebookFailed]:
    """Bring the notebooks of a plan up to date in `folder`, `jobs` at a time; returns what failed.

    plan   Notebook -> its parameters.

    One that fails does not keep the others from running. Raises ValueError for a wrong parameter, and NotebookFailed
    where there is no room to write; then, and when this process is stopped, the others are stopped too.
    """
    waiting, failures = sorted(plan, key=_place), []
    running: dict[Connection, multiprocessing.process.BaseProcess] = {}
    with _ended(running), tqdm(total=len(plan), desc="notebooks", unit="notebook", leave=False) as bar:
        while waiting or running:
            while waiting and len(running) < jobs:
                notebook = waiting.pop(0)
                pipe, process = _start(notebook, plan[notebook], folder, jobs)
                running[pipe] = process
            for pipe in wait(list(running)):
                kind, text = _heard(pipe, running[pipe])
                if kind == "said":
                    bar.write(text)
                    sys.stdout.flush()
                    continue
                running.pop(pipe).join()
                bar.update()
                failures += _judged(kind, text, bar)
    return failures


def _place(notebook: Path) -> tuple[int, str]:
    number = notebook.name[:2]
    return (FIRST.index(number) if number in FIRST else len(FIRST)), number


def _start(notebook: Path, parameters: Mapping[str, Any], folder: Path, jobs: int) -> tuple[Connection, Any]:
    here, there = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")  # a fork would inherit threads in an unknown state
    task = notebook, dict(parameters), folder / notebook.name, jobs, there
    process = context.Process(target=_run, name=notebook.stem, args=task)
    process.start()
    there.close()
    return here, process


def _run(notebook: Path, parameters: dict[str, Any], output: Path, jobs: int, pipe: Connection) -> None:
    """In a process of its own, with its share of the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    os.environ |= {"OMP_NUM_THREADS": threads, "SSAH_WORKERS": threads, "TQDM_DISABLE": "1"}
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent stops, and then stops this
    try:
        with stoppable(), redirect_stdout(_Lines(pipe)):
            bring_up_to_date(notebook, parameters, output)
        pipe.send(("done", ""))
    except NotebookFailed as error:
        pipe.send(("failed", str(error)))
    except ValueError as error:
        pipe.send(("wrong", str(error)))
    except OSError as error:
        pipe.send(("failed", f"{notebook.stem}: {error}"))
    except KeyboardInterrupt:
        sys.exit(1)


def _heard(pipe: Connection, process: Any) -> tuple[str, str]:
    try:
        return pipe.recv()
    except (EOFError, OSError):  # it ended, maybe in the midst of a message
        process.join()
        return "ended", f"{process.name}: its process ended with exit code {process.exitcode}"


def _judged(kind: str, text: str, bar: Any) -> list[NotebookFailed]:
    """What failed, if it leaves others to go on."""
    if kind == "wrong":
        raise ValueError(text)
    if kind == "done":
        return []
    failure = NotebookFailed(text)
    if no_room(failure):
        raise failure
    bar.write(f"{text.split(',')[0].split(':')[0]}: failed, others go on")
    return [failure]


@contextmanager
def _ended(running: Mapping[Connection, Any]) -> Iterator[None]:
    """No process outlives the context: those that still run are stopped, and end their kernels."""
    try:
        yield
    finally:
        _stop_all(list(running.values()))


def _stop_all(processes: Sequence[Any]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(PATIENCE)
        process.kill()
        process.join()

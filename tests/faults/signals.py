"""Signals: Ctrl-C, SIGTERM, a terminal that closes, and SIGTERM to a run under nohup, in training and in a notebook."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ssah_core.runner.execute import STOPPED

from .compare import differences, torn
from .kill import counted_in
from .runs import Place
from .tell import Outcome, tell

DEAF = (signal.SIGINT, signal.SIGHUP)


def _hear() -> None:
    for number in DEAF:
        signal.signal(number, signal.SIG_DFL)


def _be_deaf() -> None:
    """As nohup does, and a shell for jobs in the background."""
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)


KINDS: dict[str, tuple[int, Callable[[], None]]] = {
    "SIGINT": (signal.SIGINT, _hear), "SIGTERM": (signal.SIGTERM, _hear), "SIGHUP": (signal.SIGHUP, _hear),
    "SIGTERM, others ignored": (signal.SIGTERM, _be_deaf)}
MOMENTS = {"training": 20, "notebook": 12}
"""Phase -> after how many of its steps, in a run that begins anew, the signal is sent."""


def signals(place: Place, whole: Path) -> list[Outcome]:
    """Stop a run by each signal, in training and in a notebook; then it goes on, and is compared."""
    outcomes = []
    for kind, (number, prepare) in KINDS.items():
        wrong: list[str] = []
        place.clear()
        for moment, steps in MOMENTS.items():
            wrong += [f"{moment}: {each}" for each in _stop(place, number, prepare, moment, steps)]
            wrong += torn(place.folder, whole)
        tell(f"{kind}: {wrong or 'a clean stop'}, {len(MOMENTS)} times")
        outcomes.append(Outcome("signals", kind, len(MOMENTS), len(wrong), wrong))
    ended = place.run()
    left = [ended.errors[-500:]] if ended.code else differences(place.folder, whole)
    tell(f"then it goes on: {left or 'the same bytes'}")
    return [*outcomes, Outcome("signals", "at the end", 1, int(bool(left)), left)]


def _stop(place: Place, number: int, prepare: Callable[[], None], moment: str, steps: int) -> list[str]:
    counts = counted_in(place)
    run = place.start({"kill": {"counts": str(counts), "at": {}}}, preexec_fn=prepare)
    _wait(run, counts / moment, steps)
    if prepare is _be_deaf:
        for deaf in DEAF:
            run.send_signal(deaf)
        time.sleep(0.5)
    run.send_signal(number)
    errors = run.communicate(timeout=300)[1]
    wrong = [] if run.returncode == 128 + number else [f"exit code {run.returncode}"]
    if not errors.rstrip().endswith(STOPPED) or "Traceback" in errors:
        wrong.append(f"it said: {errors[-500:]}")
    if alive := place.left():
        wrong.append(f"{alive} processes left")
        place.end_all()
    return wrong


def _wait(run: subprocess.Popen, counter: Path, steps: int) -> None:
    while run.poll() is None and not (counter.is_file() and counter.stat().st_size >= steps):
        time.sleep(0.02)

"""How a run ends that cannot go on: stopped by a signal, or without room to write. The same command goes on later."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,)
NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded")
NO_WRITING = re.compile(r"Read-only file system")
NAMED = re.compile(r"'(/[^']+)'")


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop; `code` is the exit code that says which."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that closes, stop what runs here as Ctrl-C does: by an exception, so that
    kernels are ended and unfinished files removed. One that is ignored, as under nohup, stays so.

    >>> import os
    >>> try:
    ...     with stoppable():
    ...         os.kill(os.getpid(), signal.SIGTERM)
    ... except Stopped as stop:
    ...     print(stop, stop.code)
    SIGTERM 143
    """
    heeded = {number: handler for number in SIGNALS if threading.current_thread() is threading.main_thread()
              and (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)}
    try:
        for number in heeded:
            signal.signal(number, _stop)
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    for each in SIGNALS:  # what is cleared up now is not to be stopped again
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


def silence_tasks() -> None:
    """Keep asyncio from telling, behind the last words of a stopped run, what its kernel answered to that.

    >>> silence_tasks()
    >>> logging.getLogger("asyncio").isEnabledFor(logging.ERROR)
    False
    """
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def no_room(error: BaseException) -> str:
    """What to say of an error that there is no room, or no permission, to write; "" for another error.

    The libraries below have classes of their own for it, and a notebook's kernel sends text alone: the words decide.

    >>> no_room(OSError(28, "No space left on device", "/data/a.json"))
    'no space is left for /data/a.json: free some, and give the same command again, which goes on from here'
    >>> no_room(ValueError("seeds is 0"))
    ''
    """
    said = str(error)
    file = next(iter(NAMED.findall(said)), "what is written")
    if NO_ROOM.search(said):
        return f"no space is left for {file}: free some, and give the same command again, which goes on from here"
    if NO_WRITING.search(said):
        return (f"{file} is out of reach ({NO_WRITING.findall(said)[0]}): make its folder one that you can write to, "
                "or name another by SSAH_CACHE or --output")
    return ""

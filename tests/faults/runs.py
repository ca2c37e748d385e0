"""Runs of the notebooks in processes of their own, each with its cache and its folder, that can be disturbed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssah_core.records import paths

HOOK = Path(__file__).resolve().parent / "hook"
MARK = ".ssah-faults"
"""An empty file in the folder of every place: without it, none is emptied."""


@dataclass
class Place:
    """A cache and a run's folder, always at the same path, since notebooks and keys name it; `put_aside` keeps it."""

    folder: Path
    scale: str = "tiny"
    notebooks: Sequence[str] = ()
    workers: int = 1
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def output(self) -> Path:
        return self.folder / "run"

    @property
    def plan(self) -> Path:
        return self.folder.with_name(self.folder.name + ".plan.json")

    def command(self) -> list[str]:
        chosen = ["--notebooks", *self.notebooks] if self.notebooks else []
        return [sys.executable, "-m", "ssah_core.runner.execute", "--scale", self.scale, "--output", str(self.output),
                *chosen]

    def variables(self) -> dict[str, str]:
        """Of the run's processes. FAULTS_PLAN also marks them, so that all can be found."""
        path = [str(HOOK), str(paths.root()), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"PYTHONPATH": os.pathsep.join(path), "SSAH_CACHE": str(self.cache), "FAULTS_PLAN": str(self.plan),
               "SSAH_WORKERS": str(self.workers), "TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
               "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        foreign = ("SSAH_FIGURES", "SSAH_RECORDS", "SSAH_EXECUTOR", "MPLBACKEND")
        return {name: value for name, value in os.environ.items() if name not in foreign} | own | self.environment

    def start(self, plan: dict | None = None, **options) -> subprocess.Popen:
        """A run that goes on where the last one stopped, in a session of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / MARK).is_file():  # else it is maybe to be read alone
            (self.folder / MARK).touch()
        self.plan.write_text(json.dumps(plan or {}), encoding="utf-8")
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True} | options
        return subprocess.Popen(self.command(), env=self.variables(), text=True, cwd=paths.root(), **options)

    def run(self, plan: dict | None = None, timeout: float = 3600) -> Ended:
        """The same, to its end; then all that it may have left is ended too."""
        process = self.start(plan)
        try:
            said, errors = process.communicate(timeout=timeout)
        finally:
            self.end_all()
        return Ended(process.returncode, said, errors)

    def processes(self) -> list[int]:
        """Ids of all processes of the run that live."""
        mark, found = f"FAULTS_PLAN={self.plan}".encode(), []
        for process in filter(str.isdecimal, os.listdir("/proc")):
            try:
                if mark in Path("/proc", process, "environ").read_bytes().split(b"\0"):
                    found.append(int(process))
            except OSError:
                pass
        return found

    def end_all(self) -> None:
        """Kill what lives of the run, and wait until none does."""
        while alive := self.processes():
            for process in alive:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)

    def left(self, patience: float = 20) -> int:
        """How many processes of the run still live after a while."""
        until = time.monotonic() + patience
        while (alive := self.processes()) and time.monotonic() < until:
            time.sleep(0.1)
        return len(alive)

    def put_aside(self, name: str) -> Path:
        """Move all to a sibling folder, so that the next run begins from nothing at the same path."""
        aside = self.folder.with_name(name)
        _remove(aside)
        self.folder.rename(aside)
        return aside

    def begin_with(self, folder: Path) -> None:
        """Lay a copy of what was put aside in the place."""
        self.clear()
        shutil.copytree(folder, self.folder, symlinks=True)

    def clear(self) -> None:
        """Begin from nothing. Raises ValueError if the folder holds anything but a run of these."""
        _remove(self.folder)


def _remove(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise ValueError(f"{folder} holds files, but no run of these: name another folder by --folder, so that nothing "
                         "is lost")
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it said."""

    code: int
    said: str
    errors: str

    @property
    def last(self) -> str:
        """Its last line on stderr."""
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return lines[-1] if lines else ""

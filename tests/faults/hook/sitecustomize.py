"""Put in front of PYTHONPATH by the harness, so that every process of a run imports it: counts steps, kills at some.

A *step* is a call of a named function or a file put in its place, of a phase ("training", "saving" ...). Steps are
counted in files, across processes and restarts; at those that `FAULTS_PLAN` names, all processes of the run are killed
at once, as by a power cut. It does nothing without FAULTS_PLAN.

Of a call there are steps before and after it; of one that writes a file also "torn": half the file is there.
"""

import importlib.abc
import importlib.machinery
import json
import os
import pathlib
import signal
import sys
import time
from functools import wraps

CALLS = {
    "transformers.trainer": {"Trainer.training_step": "training"},
    "transformers.modeling_utils": {"PreTrainedModel.save_pretrained": "saving"},
    "safetensors.torch": {"save_file": "saving"},
    "transformers.generation.utils": {"GenerationMixin.generate": "generating"},
    "ssah_core.judging.judges": {"judge": "judging"},
    "ssah_core.judging.exam": {"outcomes": "judging"},
    "ssah_core.plots.drawing": {"render": "drawing"},
    "matplotlib.figure": {"Figure.savefig": "drawing"},
    "ssah_core.records.records": {"record": "record"},
    "ssah_core.records.measurements": {"measured": "rows"},
    "papermill.iorw": {"write_ipynb": "notebook"},
    "ssah_core.runner.run_notebook": {"strip_noise": "converting"},
    "nbformat": {"write": "converting"},
    "ssah_core.records.report": {"write_run": "report"},
}
"""Module -> function -> phase."""
WRITES = {"save_file": 1, "write_ipynb": 1, "write": 1}
"""Functions that write a file: the position of its path among their arguments."""
PLACES = (("/figures/records/", "record"), ("/figures/measurements/", "rows"), ("/rows.json", "rows"),
          ("/studies/", "rows"), ("/organisms/", "saving"), ("/scores/", "saving"), ("/executed/", "stamp"),
          (".ipynb", "notebook"), ("/figures/", "drawing"))
"""What a path holds -> phase of the step at which a file, or a folder, is put there."""


def _plan():
    with open(os.environ["FAULTS_PLAN"], encoding="utf-8") as file:
        return json.load(file)


def reach(phase):
    """Count one step of a phase; whether it is one at which all is to be killed."""
    plan = PLAN.get("kill")
    if plan is None:
        return False
    counter = os.open(os.path.join(plan["counts"], phase), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(counter, b".")
    count = os.lseek(counter, 0, os.SEEK_CUR)  # behind this process's own byte, whoever else writes
    os.close(counter)
    return count in plan["at"].get(phase, ())


def is_marked(process):
    """Whether this run started a process, by its environment, which is empty while it becomes another program."""
    with open(f"/proc/{process}/environ", "rb") as file:
        return f"FAULTS_PLAN={os.environ['FAULTS_PLAN']}".encode() in file.read().split(b"\0")


def kill(phase, what):
    """End every process of this run at once: those that its environment marks, and all of a session that it began."""
    with open(os.path.join(PLAN["kill"]["counts"], "killed"), "a", encoding="utf-8") as log:
        log.write(f"{phase}\t{what}\n")
    session = os.getsid(0)
    is_session_ours = os.path.exists(f"/proc/{session}") and is_marked(session)
    for process in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            is_ours = is_marked(process) or (is_session_ours and os.getsid(process) == session)
            if is_ours and process != os.getpid():
                os.kill(process, signal.SIGKILL)
        except OSError:
            pass
    os.kill(os.getpid(), signal.SIGKILL)


def tear(file):
    """Leave half a file, as a write leaves it that was cut short."""
    os.truncate(file, os.path.getsize(file) // 2)


def counted(function, phase, name):
    """The function, with its steps."""
    @wraps(function)
    def call(*given, **more):
        if reach(phase):
            kill(phase, f"before {name}")
        result = function(*given, **more)
        if name in WRITES and reach(phase):
            written = given[WRITES[name]] if len(given) > WRITES[name] else None
            if isinstance(written, str | os.PathLike) and os.path.isfile(written):
                tear(written)
            kill(phase, f"torn {name}")
        if phase != "training" and reach(phase):
            kill(phase, f"after {name}")
        return result
    return call


def _count_calls(module, calls):
    for path, phase in calls.items():
        *outer, name = path.split(".")
        owner = module
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, name, counted(getattr(owner, name), phase, name))


class Finder(importlib.abc.MetaPathFinder):
    """Counts the calls of a module as soon as it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name not in CALLS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _count_calls(module, CALLS[name])

            spec.loader.exec_module = exec_module
        return spec


def _phase_of(place):
    name = os.fspath(place)
    return next((phase for part, phase in PLACES if isinstance(name, str) and part in name), None)


def _count_writes():
    write = pathlib.Path.write_bytes

    @wraps(write)
    def counting(file, content):
        written, phase = write(file, content), _phase_of(file)
        if phase and reach(phase):
            tear(file)
            kill(phase, f"torn draft {file.name}")
        return written

    pathlib.Path.write_bytes = counting


def _count_replacements():
    replace = os.replace

    @wraps(replace)
    def counting(source, place, **more):
        name, phase = os.fspath(place), _phase_of(place)
        if phase and reach(phase):
            kill(phase, f"draft of {os.path.basename(name)}")
        replace(source, place, **more)
        if phase and reach(phase):
            kill(phase, f"{os.path.basename(name)} in its place")

    os.replace = counting


def _shift_clock(clock):
    """time.time tells what is `ahead` seconds off, and jumps by `jump` after so many calls."""
    now, calls = time.time, [0]

    def told():
        calls[0] += 1
        return now() + clock["ahead"] + (clock["jump"] if calls[0] > clock["after"] else 0)

    time.time = told


if "FAULTS_PLAN" in os.environ:
    PLAN = _plan()
    if "kill" in PLAN:
        sys.meta_path.insert(0, Finder())
        _count_replacements()
        _count_writes()
    if "clock" in PLAN:
        _shift_clock(PLAN["clock"])

"""A run that is stopped, or has no room, says one sentence and goes on later; what is damaged is made again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output
from test_execute import REPOSITORY, make, project  # noqa: F401

from ssah_core import measure_each
from ssah_core.records import cache as store
from ssah_core.records import paths
from ssah_core.runner import execute, up_to_date
from ssah_core.runner.kernel import environment
from ssah_core.runner.run_notebook import NotebookFailed
from ssah_core.runner.stopping import Stopped, no_room, stoppable
from ssah_core.studies import stages

# The kernel, and a process that it has started as workers are, write down who they are.
WORKER = """import os, sys, time
from pathlib import Path
from ssah_core.records.executors import local_executor
def note(name):
    Path(name).write_text(str(os.getpid()))
    time.sleep(120)
"""
LONG = """import sys; sys.path.insert(0, '.')
import work
from ssah_core.records.executors import local_executor
local_executor(1).submit(work.note, 'worker')
work.note('pid')"""
RUN = """
import signal, sys
from pathlib import Path
for deaf in (signal.SIGINT, signal.SIGHUP):
    signal.signal(deaf, signal.SIG_IGN)
from ssah_core.records import paths
from ssah_core.runner import execute
paths.notebooks = Path
execute.raise_organism = print  # a worker can find it
sys.exit(execute.main(["--publish"]))
"""


def start(folder: Path, monkeypatch):
    """A run in the midst of its notebook: the process, the kernel's id and that of the kernel's worker."""
    make(folder, LONG)
    (folder / "work.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("SSAH_FIGURES", raising=False)
    process = subprocess.Popen([sys.executable, "-c", RUN], cwd=folder, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    return process, [wait_for(folder / name, process) for name in ("pid", "worker")]


def wait_for(file: Path, process: subprocess.Popen) -> int:
    until = time.monotonic() + 120
    while not (file.exists() and file.read_text()):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)
    return int(file.read_text())


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(processes: list[int], patience: float = 30) -> bool:
    until = time.monotonic() + patience
    while any(map(is_alive, processes)) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(map(is_alive, processes))


linux = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are looked for in /proc")


# -- signals -----------------------------------------------------------------------------------------------


@linux
def test_sigterm_stops_a_run_that_is_deaf_to_others_as_under_nohup_and_leaves_no_process(tmp_path, cache, monkeypatch):
    process, started = start(tmp_path / "books", monkeypatch)
    for deaf in (signal.SIGINT, signal.SIGHUP):
        process.send_signal(deaf)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 143 and errors.rstrip().split("\n")[-1].endswith(execute.STOPPED), errors[-2000:]
    assert "Traceback" not in errors, errors[-2000:]
    assert sorted(set(os.listdir(tmp_path / "books")) - {"__pycache__"}) == ["00_try.ipynb", "pid", "work.py", "worker"]
    assert gone(started)


@linux
def test_a_runner_that_is_killed_alone_leaves_no_process(tmp_path, cache, monkeypatch):
    process, started = start(tmp_path / "books", monkeypatch)
    process.kill()
    process.communicate()
    assert gone(started)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_has_its_exit_code(project, capsys, monkeypatch, number):  # noqa: F811
    make(project[0], "1")
    monkeypatch.setattr(execute, "bring_up_to_date", lambda *given: os.kill(os.getpid(), number))
    before = signal.signal(number, signal.SIG_DFL)  # tests themselves may run under nohup
    try:
        assert execute.main([]) == 128 + number and capsys.readouterr().err == f"{execute.STOPPED}\n"
    finally:
        signal.signal(number, before)


def test_signals_are_as_before_afterwards_and_those_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        with pytest.raises(Stopped, match="SIGTERM"), stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


# -- no room -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error, told", [
    (OSError(28, "No space left on device", "/data/a.json"), "no space is left for /data/a.json: free some, and give"),
    (RuntimeError('I/O error: No space left on device (os error 28)'), "no space is left for what is written: free"),
    (OSError(122, "Disk quota exceeded", "/data/a"), "no space is left for /data/a: free some"),
    (OSError(30, "Read-only file system", "/data/a.lock"), "/data/a.lock is out of reach (Read-only file system):"),
    (NotebookFailed("00.ipynb, cell [2] (x()): OSError: [Errno 28] No space left on device: '/a/b'"),
     "no space is left for /a/b: free some")])
def test_an_error_for_want_of_room_is_one_sentence(project, capsys, monkeypatch, error, told):  # noqa: F811
    make(project[0], "1")

    def fail(*given):
        raise error
    monkeypatch.setattr(execute, "bring_up_to_date", fail)
    assert execute.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {told}") and said.count("\n") == 1


def test_another_error_is_not_taken_for_it(project, monkeypatch):  # noqa: F811
    make(project[0], "1")
    monkeypatch.setattr(execute, "bring_up_to_date", lambda *given: 1 / 0)
    assert no_room(ZeroDivisionError("division by zero")) == ""
    with pytest.raises(ZeroDivisionError):
        execute.main([])


# -- what is damaged ---------------------------------------------------------------------------------------


@pytest.fixture
def quick(project, monkeypatch):  # noqa: F811
    """A notebook whose run needs no kernel: it writes what a kernel would, a figure and an output."""
    notebook = make(project[0], "print(0)")

    def quickly(notebook: Path, parameters: dict, output: Path) -> None:
        nb = nbformat.read(notebook, as_version=4)
        nb.cells[-1].outputs = [new_output("stream", text="[0]\n")]
        output.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, output)
        store.write_json(paths.figures() / "a.json", {"a": 1})
        store.write_json(paths.figures() / "measurements" / "a" / "tiny-seed0.json", ROWS)
    monkeypatch.setattr(up_to_date, "run_notebook", quickly)
    return notebook


ROWS = {"rows": [{"metric": "m", "value": 1.0}], "evidence": {"code": "0" * 12}}


def run(capsys) -> str:
    capsys.readouterr()
    assert execute.main(["--output", "runs/a"]) == 0
    return capsys.readouterr().out


def test_a_figure_that_is_damaged_is_made_again(quick, tmp_path, capsys):
    run(capsys)
    figure = tmp_path / "runs" / "a" / "figures" / "a.json"
    whole = figure.read_bytes()
    assert "00_try: up to date" in run(capsys)
    figure.write_bytes(whole[:-3])
    assert "00_try: running, since a.json is not as it was left" in run(capsys) and figure.read_bytes() == whole
    assert "00_try: up to date" in run(capsys)


@pytest.mark.parametrize("damage", [lambda text: text[:len(text) // 2], lambda text: text.replace("[0]", "[7]")])
def test_a_notebook_that_is_damaged_is_run_again(quick, tmp_path, capsys, damage):
    run(capsys)
    notebook = tmp_path / "runs" / "a" / "00_try.ipynb"
    before = notebook.read_bytes()
    notebook.write_text(damage(notebook.read_text()))
    assert "is not as it was left" in run(capsys) and notebook.read_bytes() == before


@pytest.mark.parametrize("damage", [lambda text: text[:len(text) // 2], lambda text: text.replace("a.json", "b.json"),
                                    lambda text: "[]", lambda text: "{}", lambda text: '{"result": 1, "wrote": [1]}'])
def test_a_stamp_that_is_damaged_is_no_stamp(quick, tmp_path, cache, capsys, damage):
    run(capsys)
    stamp, = (cache / "executed").glob("00_try-*.json")
    before = stamp.read_text()
    stamp.write_text(damage(before))
    assert "00_try: running" in run(capsys) and stamp.read_text() == before


def test_who_has_verified_rows_since_is_no_damage(quick, tmp_path, capsys):
    run(capsys)
    file = tmp_path / "runs" / "a" / "figures" / "measurements" / "a" / "tiny-seed0.json"
    store.write_json(file, {**ROWS, "evidence": {**ROWS["evidence"], "verified": {"code": "1" * 12}}})
    assert "up to date" in run(capsys)
    for lost in (None, lambda output: output.unlink(), lambda output: output.write_text("{")):
        store.write_json(file, {**ROWS, "rows": [{"metric": "m", "value": 2.0}]})
        if lost:  # the notebook is no more, or not whole: its rows are others all the same
            lost(tmp_path / "runs" / "a" / "00_try.ipynb")
        assert "is not as it was left" in run(capsys) and store.read_json(file) == ROWS


def test_what_somebody_has_edited_gives_way_to_a_whole_run_alone(quick, tmp_path, capsys, monkeypatch):
    run(capsys)
    file = tmp_path / "runs" / "a" / "figures" / "measurements" / "a" / "tiny-seed0.json"
    store.write_json(file, {**ROWS, "rows": [{"metric": "m", "value": 2.0}]})
    edited, whole = file.read_bytes(), up_to_date.run_notebook

    def fails(*given):
        assert not file.exists()  # a run would read these rows as its own
        whole(*given)
        raise NotebookFailed("00_try.ipynb, cell [9] (1 / 0): ZeroDivisionError")
    with monkeypatch.context() as patch:
        patch.setattr(up_to_date, "run_notebook", fails)
        assert execute.main(["--output", "runs/a"]) == 1
    assert file.read_bytes() == edited and not list(file.parent.glob(".*"))
    file.rename(file.with_name(f".{file.name}.00_try.aside"))  # as a run that is killed leaves it
    store.write_json(file, ROWS)
    assert "tiny-seed0.json is not as it was left" in run(capsys)
    assert store.read_json(file) == ROWS and not list(file.parent.glob(".*"))


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_what_a_notebook_wrote_is_known_whatever_the_clock_says(quick, tmp_path, capsys, monkeypatch, ahead):
    real, wrote = time.time, tmp_path / "runs" / "a" / "figures" / "a.json"
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + ahead)
        run(capsys)
    os.utime(wrote, (real() + ahead, real() + ahead))
    assert "00_try: up to date" in run(capsys)
    wrote.unlink()
    assert "00_try: running, since a.json is not as it was left" in run(capsys) and wrote.is_file()


def test_rows_that_a_killed_run_had_written_belong_to_the_notebook(project, tmp_path, capsys, monkeypatch):  # noqa: F811
    """They are there already, and are not written again; if they go, the notebook runs."""
    make(project[0], "1")

    def measure(notebook, parameters, output):
        with environment(SSAH_RECORDS="ignore"):  # as kernels have it
            measure_each(stages.losses, [0], "tiny")
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(notebook, output)
        if not killed:
            killed.append(notebook)
            raise KeyboardInterrupt
    killed: list[Path] = []
    monkeypatch.setattr(up_to_date, "run_notebook", measure)
    assert execute.main(["--output", "runs/a"]) == 130
    assert "00_try: running" in run(capsys) and "00_try: up to date" in run(capsys)
    rows, = (tmp_path / "runs" / "a" / "figures" / "measurements").rglob("*.json")
    rows.unlink()
    assert "00_try: running" in run(capsys) and rows.is_file()

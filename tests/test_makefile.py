"""The Makefile hands on what it is given, whatever is in it, and opens notebooks with the environment's own kernel, to
who is on this machine and has the token."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ssah_core.records import paths

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

SAYS = """import json, sys
with open("said", "a") as said:
    said.write(json.dumps(sys.argv[1:]) + "\\n")
"""
LISTS = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'jupyter', 'kernelspec', 'list', '--json'])"


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the Makefile, in a folder with an apostrophe, and an environment whose Python says what it was told."""
    home = tmp_path / "it's here"
    for folder in ("notebooks", ".venv/bin"):
        (home / folder).mkdir(parents=True)
    for file in ("requirements.lock", "pyproject.toml", ".venv/.installed"):  # the last is the newest
        (home / file).touch()
    shutil.copy(paths.root() / "Makefile", home)
    for program, code in (("python", SAYS), ("jupyter", LISTS)):
        (home / ".venv" / "bin" / program).write_text(f"#!{sys.executable}\n{code}")
        (home / ".venv" / "bin" / program).chmod(0o755)
    return home


def run(project: Path, *given: str, **environment: str) -> str:
    done = subprocess.run(["make", *given], cwd=project, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("model", ["some/model", "/models/a path with spaces", "/models/it's mine", '/a "b", c;#&|(d)'])
def test_a_checkpoint_may_lie_in_any_folder(project, model):
    run(project, "paper", f"MODEL={model}", f"UNALIGNED={model} base", f"NAME={model[-4:]}")
    run(project, "rehearse", f"MODEL={model}")
    plan, execute, rehearse = map(json.loads, (project / "said").read_text().splitlines())
    assert plan[:3] == ["-m", "ssah_core.planning", model] and rehearse[:3] == plan[:3]
    assert [execute[at + 1:at + 3] for at, word in enumerate(execute) if word == "-p"] == [
        ["model", model], ["unaligned", f"{model} base"]]
    assert execute[execute.index("--output") + 1] == f"runs/{model[-4:]}"


HOSTILE = ["$(touch ran)", "$(shell touch ran)", "`touch ran`", "a; touch ran", "a && touch ran", "a' ; touch ran; '",
           "a|b", 'a"; touch ran; "', "$$(touch ran)", "${HOME}", "$HOME", "*", "~", "a\\", "#a", "> ran", "a,b",
           "$(error no)", "--x"]
NAMES = ("NAME", "MODEL", "UNALIGNED", "DTYPE", "GPUS", "SEEDS", "SCALE")


@pytest.mark.parametrize("given", HOSTILE)
@pytest.mark.parametrize("by", ["command line", "environment"])
def test_what_is_given_is_one_word_that_neither_make_nor_a_shell_looks_into(project, given, by):
    values = {name: given for name in NAMES}
    words = [f"{name}={value}" for name, value in values.items()] if by == "command line" else ["-e"]
    for target in ("paper", "rehearse", "reproduce", "verify"):
        run(project, target, *words, **(values if by == "environment" else {}))
    plan, paper, rehearse, reproduce, verify = map(json.loads, (project / "said").read_text().splitlines())
    assert plan[2:7:2] == [given, given, given] == [paper[paper.index(name) + 1] for name in ("--seeds", "model",
                                                                                           "unaligned")]
    assert paper[-1] == reproduce[-1] == f"runs/{given}" and rehearse[2] == given
    assert reproduce[reproduce.index("--seeds") + 1] == given == verify[-1]
    assert not list(project.rglob("ran"))


@pytest.mark.parametrize("given", HOSTILE)
def test_lists_are_words_that_nobody_looks_into(project, given):
    run(project, "publish", f"NOTEBOOKS=03 {given}")
    run(project, "verify", f"STUDIES=losses {given}")
    publish, verify = map(json.loads, (project / "said").read_text().splitlines())
    assert publish[publish.index("--notebooks") + 1:] == ["03", *given.split()]
    assert verify[verify.index("--studies") + 1:] == ["losses", *given.split()]
    assert not list(project.rglob("ran"))


@pytest.mark.parametrize("name", ["NAME", "MODEL", "NOTEBOOKS"])
@pytest.mark.parametrize("given", ["a\ntouch ran\n", "a'\ntouch ran\n'", "a\n\ttouch ran"])
def test_a_line_break_begins_no_command(project, name, given):
    subprocess.run(["make", "paper", "MODEL=a", f"{name}={given}"], cwd=project, capture_output=True)
    assert not list(project.rglob("ran"))


def test_a_shell_does_look_into_what_is_not_quoted(project):
    subprocess.run(["sh", "-c", f"echo {HOSTILE[0]}"], cwd=project)
    assert (project / "ran").exists()


RUNS = """import pathlib, sys
if "--output" in sys.argv:
    rows = pathlib.Path(sys.argv[sys.argv.index("--output") + 1], "figures", "measurements", "losses")
    rows.mkdir(parents=True, exist_ok=True)
    (rows / "tiny-seed0.json").write_text("new")
"""


def test_golden_rows_are_those_of_the_studies_that_there_are(project):
    (project / ".venv" / "bin" / "python").write_text(f"#!{sys.executable}\n{RUNS}")
    for name in ("runs/golden/figures/measurements/gone", "tests/golden/gone"):
        (project / name).mkdir(parents=True)
        (project / name / "tiny-seed0.json").write_text("old")
    run(project, "golden")
    assert [file.read_text() for file in (project / "tests" / "golden").rglob("*.json")] == ["new"]


def test_to_clean_takes_nothing_that_is_a_readers_own(project):
    for name in ("notebooks", "student", "runs/mine"):
        (project / name / ".ipynb_checkpoints").mkdir(parents=True)
    (project / "ssah_core" / "__pycache__").mkdir(parents=True)
    run(project, "clean")
    assert sorted(folder.parent.name for folder in project.rglob(".ipynb_checkpoints")) == ["mine", "student"]
    assert not list(project.rglob("__pycache__")) and not (project / ".venv").exists()


def test_without_a_checkpoint_one_is_asked_for(project):
    done = subprocess.run(["make", "paper"], cwd=project, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.startswith("MODEL is not set; name a folder or a hub id")


LAB = """import os, sys
given = [*sys.argv[1:], "--no-browser", "--ServerApp.port=" + os.environ["PORT"], "--ServerApp.port_retries=0"]
os.execv(sys.executable, [sys.executable, "-m", "jupyter", *given])
"""


def answer(url: str) -> int:
    """The status of an answer; 0 where nobody listens."""
    try:
        return urllib.request.urlopen(url, timeout=30).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_lab_answers_this_machine_alone_and_asks_for_its_token(project, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "jupyter_server_config.py").write_text("c.ServerApp.ip = '0.0.0.0'")  # as some have it for other work
    (project / ".venv" / "bin" / "jupyter").write_text(f"#!{sys.executable}\n{LAB}")
    about = {"PORT": str(port), "JUPYTER_CONFIG_DIR": str(settings), "JUPYTER_TOKEN": "the-token",
             "HOME": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path / "run"),
             "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "lab")}
    lab = subprocess.Popen(["make", "lab"], cwd=project, env=os.environ | about, start_new_session=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        here, until = f"http://127.0.0.1:{port}/api/contents", time.monotonic() + 120
        while not (status := answer(here)) and lab.poll() is None and time.monotonic() < until:
            time.sleep(0.2)
        assert status == 403, lab.poll() is None or lab.stdout.read()
        assert answer(f"{here}?token=another") == 403 and answer(f"{here}?token=the-token") == 200
        assert answer(f"http://127.0.0.2:{port}/api/contents") == 0  # which whoever listens everywhere would answer
    finally:
        os.killpg(lab.pid, signal.SIGTERM)
        lab.communicate(timeout=60)


def test_the_lab_has_the_environments_own_kernel_whatever_kernels_the_user_has(project, tmp_path):
    other = tmp_path / "home" / "data" / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["false"], "display_name": "Another Python", "language": "python"}')
    said = run(project, "lab", JUPYTER_DATA_DIR=str(tmp_path / "home" / "data"), JUPYTER_PREFER_ENV_PATH="0")
    listed, _ = json.JSONDecoder().raw_decode(said[said.index("{"):])  # a make inside a make says more behind it
    assert listed["kernelspecs"]["python3"]["spec"]["display_name"] == "Python 3 (ipykernel)"

"""The Makefile hands on what it is given, whatever is in it, and opens notebooks with the environment's own kernel."""

import json
import os
import shutil
import subprocess
import sys
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


def test_without_a_checkpoint_one_is_asked_for(project):
    done = subprocess.run(["make", "paper"], cwd=project, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.startswith("MODEL is not set; name a folder or a hub id")


def test_the_lab_has_the_environments_own_kernel_whatever_kernels_the_user_has(project, tmp_path):
    other = tmp_path / "home" / "data" / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["false"], "display_name": "Another Python", "language": "python"}')
    said = run(project, "lab", JUPYTER_DATA_DIR=str(tmp_path / "home" / "data"), JUPYTER_PREFER_ENV_PATH="0")
    listed, _ = json.JSONDecoder().raw_decode(said[said.index("{"):])  # a make inside a make says more behind it
    assert listed["kernelspecs"]["python3"]["spec"]["display_name"] == "Python 3 (ipykernel)"

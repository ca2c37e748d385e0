"""What `pip install ssah` gives: one package and one command, without notebooks, plots or a repository."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import toys
from packaging.requirements import Requirement

from ssah_core.planning.rehearsal import rehearse

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIGHT = {"torch", "transformers", "datasets", "accelerate", "tokenizers", "safetensors", "numpy", "pandas", "scipy",
         "scikit-learn", "statsmodels", "threadpoolctl", "filelock", "platformdirs", "tqdm", "typer", "lazy-loader"}
HEAVY = ("seaborn", "matplotlib", "papermill", "nbformat", "jupyterlab", "ipywidgets", "IPython", "dask", "distributed",
         "trl", "peft", "lm_eval", "hypothesis", "pytest")
"""What extras bring, by the names of their modules."""


def alone(*command: str, cwd: Path) -> str:
    """What a command prints that sees neither this repository nor its environment's settings."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    ended = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_package_itself_asks_for_light_dependencies_alone():
    assert {Requirement(line).name for line in PROJECT["dependencies"]} == LIGHT


def test_every_public_name_can_be_had_without_what_extras_bring(tmp_path):
    code = (f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r})); sys.path.insert(0, {str(ROOT)!r})\n"
            "import ssah_core as ssah\nprint(len([getattr(ssah, name) for name in ssah.__all__]))")
    assert int(alone(sys.executable, "-c", code, cwd=tmp_path)) >= 40


def test_loading_a_model_waits_for_no_tables_data_sets_or_tests(tmp_path):
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport ssah_core\nssah_core.load, ssah_core.collect\n"
            "print(sorted({'pandas', 'datasets', 'scipy.stats'} & set(sys.modules)))")
    assert alone(sys.executable, "-c", code, cwd=tmp_path).strip() == "[]"


def test_a_rehearsal_without_psutil_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ValueError, match="psutil is missing.*pip install"):
        rehearse(toys.model().config, device="cpu")


# -- the wheel ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what belongs to it, so that nothing is left in the repository."""
    home = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, home)
    for folder in ("ssah_core", "tests", "notebooks"):  # the last two, to see that they stay out
        shutil.copytree(ROOT / folder, home / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
                    "--wheel-dir", str(home / "dist"), str(home)], check=True, capture_output=True)
    (built,) = (home / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of a new environment that has the wheel, and sees the packages of this one behind it."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet",
                    "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    (site,) = home.rglob("site-packages")
    (site / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_wheel_holds_the_package_with_its_types_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    version = PROJECT["version"]
    assert {name.split("/")[0] for name in names} == {"ssah_core", f"ssah-{version}.dist-info"}
    assert {"ssah_core/py.typed", "ssah_core/__init__.pyi"} <= set(names)
    ours = {file.relative_to(ROOT).as_posix() for file in (ROOT / "ssah_core").rglob("*")
            if file.is_file() and "__pycache__" not in file.parts}
    assert {name for name in names if name.startswith("ssah_core/")} == ours


def test_an_install_brings_the_package_and_the_command(installed, tmp_path):
    code = ("from importlib.metadata import distribution\n"
            "for file in distribution('ssah').files: print(file.parts[0] if file.parts[0] != '..' else file.name)")
    found = set(alone(str(installed / "python"), "-c", code, cwd=tmp_path).split())
    assert found == {"ssah_core", f"ssah-{PROJECT['version']}.dist-info", "ssah"}


def test_an_install_works_outside_the_repository(installed, tmp_path):
    code = ("import ssah_core as ssah\nprint(ssah.__file__, ssah.__version__)\n"
            "print(ssah.load.__module__, ssah.UnitMask.__module__, len(ssah.list_claims()))")
    said = alone(str(installed / "python"), "-c", code, cwd=tmp_path).splitlines()
    assert str(installed.parent) in said[0] and said[0].endswith(PROJECT["version"])
    assert re.fullmatch(r"ssah_core\.models\.load ssah_core\.units\.masks \d+", said[1])
    assert "\n  plan " in alone(str(installed / "ssah"), "--help", cwd=tmp_path)
    assert alone(str(installed / "ssah"), "version", cwd=tmp_path).startswith(f"ssah {PROJECT['version']}\n")

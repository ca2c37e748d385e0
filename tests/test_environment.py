"""One set of requirements in three files: pyproject.toml, environment.yml for conda, requirements.lock for pip."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
LOCK_FILE = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCK = [line for line in LOCK_FILE.splitlines() if not line.startswith("#")]
PYTHONS = ("3.11.0", "3.12.0", "3.13.0")
LOCKED_EXTRAS = ("notebooks", "test", "peft")
PIP_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "huggingface_hub": "huggingface-hub"}


def requirements(extra: str | None = None) -> list[Requirement]:
    """What the package or one of its extras needs, without what refers to the package itself."""
    project = PROJECT["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != project["name"]]


def conda_specs() -> dict[str, SpecifierSet]:
    found = (re.fullmatch(r"([\w.-]+?)(=\d[\w.]*|[<>!=]=?.*)?", spec).groups()
             for spec in CONDA["dependencies"] if isinstance(spec, str))
    return {canonicalize_name(PIP_NAMES.get(name, name)): SpecifierSet(_for_pip(version or ""))
            for name, version in found}


def _for_pip(version: str) -> str:
    return f"=={version[1:]}.*" if re.match(r"=\d", version) else version


def locked() -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK)}


def test_the_conda_environment_is_whole():
    assert CONDA["name"] == "ssah" and CONDA["channels"] == ["conda-forge", "nodefaults"]
    assert set(CONDA) == {"name", "channels", "dependencies"}
    assert conda_specs()["python"] == SpecifierSet("==3.11.*") and "pip" in conda_specs()
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains("3.11")


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_conda_installs_each_base_dependency_in_the_same_range(requirement):
    assert conda_specs()[canonicalize_name(requirement.name)] == requirement.specifier


def test_conda_installs_the_package_itself_with_extras_that_exist():
    (pip,) = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    (extras,) = [re.fullmatch(r"-e \.\[(.*)\]", line).group(1).split(",") for line in pip]
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])


def test_base_dependencies_have_open_lower_bounds_only():
    operators = {spec.operator for requirement in requirements() for spec in requirement.specifier}
    assert operators == {">="}


def test_the_lock_holds_exact_public_versions():
    bad = [line for line in LOCK if not re.fullmatch(r"[A-Za-z0-9._-]+==\d[A-Za-z0-9.]*", line)]
    assert bad == [] and len(LOCK) == len(locked())


def test_the_lock_drags_in_no_cuda_packages():
    assert [name for name in locked() if name.startswith(("nvidia", "cuda", "triton"))] == []


@pytest.mark.parametrize("requirement", sum(map(requirements, LOCKED_EXTRAS), requirements()), ids=str)
def test_the_lock_satisfies_the_ranges(requirement):
    assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


def test_every_supported_python_takes_what_is_locked():
    for package in distributions():
        if locked().get(canonicalize_name(package.name)) == package.version.partition("+")[0]:
            allowed = SpecifierSet(package.metadata.get("Requires-Python") or "")
            assert [python for python in PYTHONS if not allowed.contains(python)] == [], package.name


def test_the_lock_holds_what_builds_the_package():
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(locked()[requirement.name])


def test_the_citation_names_this_version():
    for field in ("version", "license"):
        assert str(CITATION[field]) == PROJECT["project"][field]

"""Names that could be imported before the rooms were there: each is still found where it was, with a warning."""

import importlib
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ssah_core as ssah
from ssah_core import moved

OLD = {module: names.split() for module, names in json.loads(
    (Path(__file__).parent / "data" / "old_names.json").read_text(encoding="utf-8")).items()}
"""Old module -> its public functions, classes and constants; "" -> the names of `import ssah_core`."""
ENDED = {
    "studies.granularity.of_size": "`finder` finds what stands for any mask at a grain",
    "studies.subject.LOADERS": "no registry is filled by imports any more; Subject.load loads checkpoints itself",
}
"""Names that are gone on purpose from modules that are still there, and why. Those of old modules: `moved.GONE`."""
PRIVATE_BY_NOW = {**moved.GONE, **ENDED}


@contextmanager
def warned() -> Iterator[list[str]]:
    """The FutureWarnings of this package that are raised in the context."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield said
    said += [str(warning.message) for warning in caught
             if warning.category is FutureWarning and str(warning.message).startswith("ssah_core")]


def imported(module: str):
    """A module as it is imported for the first time, if it is an old one."""
    if module in moved.MODULES:
        sys.modules.pop(f"ssah_core.{module}", None)
    return importlib.import_module(f"ssah_core.{module}")


@pytest.mark.parametrize("module", sorted(OLD.keys() - {""}))
def test_an_old_module_has_its_names_and_warns_if_it_has_moved(module):
    with warned() as said:
        found = imported(module)
    assert len(said) == (module in moved.MODULES)
    left = moved.LEFT.get(module, {})
    for name in OLD[module]:
        if f"{module}.{name}" in PRIVATE_BY_NOW:
            assert not hasattr(found, name)
            continue
        with warned() as said:
            assert getattr(found, name) is not None
        assert len(said) == (name in left or f"{module}.{name}" in moved.RENAMED), (name, said)


@pytest.mark.parametrize("name", OLD[""])
def test_an_old_public_name_is_public_or_warns(name):
    if name in moved.GONE:
        with pytest.raises(AttributeError, match=f"ssah_core.{name} is gone: "):
            getattr(ssah, name)
        return
    ssah.__dict__.pop(name, None)
    with warned() as said:
        assert getattr(ssah, name) is not None
    assert len(said) == (name not in ssah.__all__)


def test_the_tables_name_nothing_that_is_not_there():
    """What the tables point at exists, so that no warning sends a reader nowhere."""
    places = {place for places in moved.MODULES.values() for place in places}
    for place in places:
        assert importlib.import_module(f"ssah_core.{place}")
    targets = [*moved.RENAMED.values(), *(new for left in moved.LEFT.values() for new in left.values()),
               *(f"{place}.{name}" for name, place in moved.NAMES.items())]
    for target in targets:
        place, _, name = target.rpartition(".")
        assert hasattr(importlib.import_module(f"ssah_core.{place}"), name), target


def test_a_gone_name_is_listed_only_if_it_was_there():
    for name in PRIVATE_BY_NOW:
        module, _, last = name.rpartition(".")
        assert last in OLD[module], name


def test_a_warning_says_the_new_place_and_points_at_the_line_that_imports():
    sys.modules.pop("ssah_core.attribution", None)
    with pytest.warns(FutureWarning, match="^ssah_core.attribution has moved: use ssah_core.units.attribution") as said:
        from ssah_core.attribution import search
    assert search is ssah.search and said[0].filename == __file__
    with pytest.warns(FutureWarning, match="^ssah_core.units.Site has moved: .* ssah_core.units.unit_map.Site") as said:
        from ssah_core.units import Site
    assert Site.__module__ == "ssah_core.units.unit_map" and said[0].filename == __file__


def test_a_renamed_name_is_the_one_that_it_was_and_not_its_namesake():
    with warned():
        from ssah_core.published_marks import UTILITY, mark
    from ssah_core.judging import exam

    assert mark is exam.mark_published and UTILITY is exam.PUBLISHED_UTILITY


def test_modules_are_attributes_of_the_package_as_they_were():
    for module in ("units", "freezing", "models"):
        assert getattr(ssah, module).__name__ == f"ssah_core.{module}"
    with warned():
        assert ssah.attribution.search is ssah.search


@pytest.mark.parametrize("ask", ["from ssah_core import nothing", "from ssah_core.units import nothing",
                                 "from ssah_core.attribution import nothing", "import ssah_core.nothing",
                                 "from ssah_core.measurements import measure", "from ssah_core import measure"])
def test_what_never_was_or_is_gone_is_an_import_error(ask):
    with warned(), pytest.raises(ImportError):
        exec(ask)


def test_an_old_module_gives_its_names_to_a_star_and_says_where_its_command_is():
    code = "import warnings; warnings.simplefilter('ignore'); from ssah_core.masks import *; print(UnitMask.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "UnitMask\n"
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "ssah_core.plan"], capture_output=True, text=True)
    assert done.returncode == 1 and "ssah_core.plan has moved: run ssah_core.planning" in done.stderr
    assert "Traceback" not in done.stderr

"""The examples of docstrings run and show what they say; and every public name has one, and names its notebook."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import ssah_core

QUIET = ("__main__",)
MODULES = [found.name for found in pkgutil.walk_packages(ssah_core.__path__, "ssah_core.")
           if not found.name.endswith(QUIET)]
PUBLIC = [name for name in dir(ssah_core) if not name.startswith("__")]


@pytest.fixture(autouse=True)
def small(cache, tmp_path, monkeypatch):
    """A cache with the tiny organism of the examples, and an empty working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_show_what_they_say(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"ssah": ssah_core},
                            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not found.failed


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example_with_a_value_and_names_where_it_is_shown(name):
    text = inspect.getdoc(getattr(ssah_core, name)) or ""
    examples = doctest.DocTestParser().get_examples(text)
    assert any(example.want.strip() for example in examples), f"{name} has no example with a value"
    assert "*Shown in:*" in text, f"{name} names no notebook"

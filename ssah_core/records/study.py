"""A study: a function that measures, with its name, and the version of what it measures."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..arguments import shown

Measure = TypeVar("Measure", bound=Callable[..., list[dict]])
Content = Callable[[str, int, str, Mapping[str, str] | None], str]
"""Takes a name that was noted (`content.rests_on`), seed, scale and checkpoints; returns the digest of its content."""


_PLACES: dict[str, str] = {}
"""Name of a study -> the function that has it. (One inside a function is of no module, and can be made again.)"""


def _nothing(name: str, seed: int, scale: str, checkpoints: Mapping[str, str] | None) -> str:
    raise ValueError(f"the study rests on {name!r}, but nothing says what that is: give `study` its `content`")


@dataclass(frozen=True)
class Study:
    """What a measurement is called, and which version of it this code makes."""

    name: str
    version: int
    content: Content
    clock: bool = False
    """Whether its numbers are times, which no two runs have alike: then they cannot be verified."""


def study(name: str, version: int, content: Content = _nothing, clock: bool = False) -> Callable[[Measure], Measure]:
    """Mark a function as a study, for `measure_each`.

    name      Of its rows' folder: letters, digits, "_", and "/" between parts.
    version   Raised by hand when what it measures changes: then rows of earlier versions do not count any more. A
              refactoring raises nothing.
    content   Digests of what it rests on, where it notes such.
    clock     Whether its numbers are times.

    Raises ValueError for a name that another function has, or that is none, and for a version below 1.

    >>> @study("mine", version=1)
    ... def mine(seed, scale):
    ...     return [{"metric": "x", "value": seed}]
    >>> study_of(mine).name, mine(3, "tiny")
    ('mine', [{'metric': 'x', 'value': 3}])
    """
    if not re.fullmatch(r"\w+(/\w+)*", name, re.ASCII):
        raise ValueError(f"study is {name!r}: use letters, digits and _, with / between the parts of a name")
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version is {version!r} of study {name!r}: give a whole number from 1 on")

    def mark(function: Measure) -> Measure:
        place = f"{function.__module__}.{function.__qualname__}"
        if "<locals>" not in place and _PLACES.setdefault(name, place) != place:
            raise ValueError(f"two studies have the name {name!r}, {_PLACES[name]} and {place}: rename one, since "
                             "their rows share a file")
        function.study = Study(name, version, content, clock)  # type: ignore[attr-defined]
        return function

    return mark


def study_of(function: Callable) -> Study:
    """What a function measures. Raises ValueError if it is no study."""
    if not isinstance(getattr(function, "study", None), Study):
        raise ValueError(f"{shown(getattr(function, '__name__', function))} is no study: put "
                         "@ssah_core.records.study(name, version=1) above it")
    return function.study


def versions_in(module: str) -> str:
    """The studies of a module with the versions that this code measures, "arms 2, curves 3"; "" where there are none.

    >>> import ssah_core.studies.granularity
    >>> versions_in("ssah_core.studies.granularity")
    'grains ...'
    """
    found = vars(sys.modules[module]).values() if module in sys.modules else ()
    studies = {each.study for each in found if isinstance(getattr(each, "study", None), Study)
               and each.__module__ == module}
    return ", ".join(sorted(f"{one.name} {one.version}" for one in studies))


def check_settings(function: Callable, settings: Mapping[str, Any]) -> None:
    """Raise ValueError for settings that a study does not take, or that it lacks.

    >>> @study("mine/deep", version=1)
    ... def mine(seed, scale, layer=0):
    ...     return [{"metric": "x", "value": layer}]
    >>> check_settings(mine, {"layers": 2})
    Traceback (most recent call last):
    ValueError: settings are {'layers': 2}, but study 'mine/deep' got an unexpected keyword argument 'layers': ...
    """
    try:
        inspect.signature(function).bind(0, "", **settings)
    except TypeError as error:
        takes = ", ".join(list(inspect.signature(function).parameters)[2:]) or "none"
        raise ValueError(f"settings are {shown(dict(settings))}, but study {study_of(function).name!r} {error}: give "
                         f"it {takes}") from None


def by_name(functions: Iterable[Callable[..., Any]]) -> dict[str, Callable[..., list[dict]]]:
    """Studies by their names. Raises ValueError if two have one name."""
    found: dict[str, Callable[..., list[dict]]] = {}
    for function in functions:
        name = study_of(function).name
        if name in found:
            raise ValueError(f"two studies have the name {name!r}, {found[name].__module__}.{found[name].__name__} and "
                             f"{function.__module__}.{function.__name__}: rename one, since their rows share a file")
        found[name] = function
    return found

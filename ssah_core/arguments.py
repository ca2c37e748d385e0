"""What an argument may be; for anything else a ValueError in one sentence, with its name, its value and the way out.

Every check takes the arguments by name: `check_counts(batch_size=batch_size)`. `Parser` says so of a command's.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, NoReturn

LONGEST = 80
"""Characters of a value that an error shows."""
LARGEST_SEED = 2 ** 63 - 1


def shown(value: Any) -> str:
    """A value as an error shows it: on one line, and not too much of it.

    >>> shown("two\\nlines"), shown([0] * 100)[-9:]
    ("'two\\\\nlines'", ', 0, 0...')
    """
    text = " ".join(repr(value)[:10 * LONGEST].split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST - 3]}..."


def check_kind(kind: Any, way: str, /, **given: Any) -> None:
    """Raise ValueError for an argument that is not of a type; `way` says what to pass.

    >>> check_kind(dict, "pass a dictionary", each=[1])
    Traceback (most recent call last):
    ValueError: each is [1] (list): pass a dictionary
    """
    for name, value in given.items():
        if not isinstance(value, kind):
            raise ValueError(f"{name} is {_told(value)}: {way}")


def check_counts(least: int = 1, most: int | None = None, /, **given: Any) -> None:
    """Raise ValueError for what is no whole number from `least` to `most`: a truth value, 1.5 or "3" is none.

    >>> check_counts(batch_size=8)
    >>> check_counts(batch_size=0)
    Traceback (most recent call last):
    ValueError: batch_size=0 is no whole number of 1 or more: give one
    """
    for name, value in given.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or value < least or most is not None and value > most:
            among = f"of {least} or more" if most is None else f"from {least} to {most}"
            raise ValueError(f"{name}={_told(value, whole)} is no whole number {among}: give one")


def check_seed(**given: Any) -> None:
    """Raise ValueError for what is no seed: a whole number from 0 on, which fits into 63 bits.

    >>> check_seed(seed=-1)
    Traceback (most recent call last):
    ValueError: seed=-1 is no whole number from 0 to 9223372036854775807: give one
    """
    check_counts(0, LARGEST_SEED, **given)


def check_share(**given: Any) -> None:
    """Raise ValueError for what is no number from 0 to 1.

    >>> check_share(share=float("nan"))
    Traceback (most recent call last):
    ValueError: share=nan is no share: pass a number from 0 to 1
    """
    for name, value in given.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:
            raise ValueError(f"{name}={_told(value, number)} is no share: pass a number from 0 to 1")


def check_numbers(finite: bool = True, **given: Any) -> None:
    """Raise ValueError for what is no number, or NaN; or not `finite`, where it has to be.

    >>> check_numbers(finite=False, threshold=float("inf"))
    >>> check_numbers(threshold=float("inf"))
    Traceback (most recent call last):
    ValueError: threshold=inf is not a finite number: pass one
    """
    for name, value in given.items():
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or value != value or finite and abs(value) == float("inf"):
            raise ValueError(f"{name}={_told(value, number)} is not a {'finite ' if finite else ''}number: pass one")


def check_choice(choices: Collection[str], more: str = "", /, **given: Any) -> None:
    """Raise ValueError for what is none of the choices; `more` says what else there is.

    >>> check_choice(("zero", "mean"), fill="median")
    Traceback (most recent call last):
    ValueError: fill='median' is unknown: choose one of zero, mean
    """
    for name, value in given.items():
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{name}={shown(value)} is unknown: choose one of {', '.join(choices)}{more}")


def check_texts(**given: Any) -> None:
    """Raise ValueError for what is no text; "" is one.

    >>> check_texts(prefill=7)
    Traceback (most recent call last):
    ValueError: prefill is 7 (int): pass a text
    """
    check_kind(str, "pass a text", **given)


def check_names(**given: Any) -> None:
    """Raise ValueError for what is no text, or an empty one.

    >>> check_names(judge="")
    Traceback (most recent call last):
    ValueError: judge is '' (str): pass a text that is not empty
    """
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{name} is {_told(value)}: pass a text that is not empty")


def check_paths(**given: Any) -> None:
    """Raise ValueError for what is no path: a text or a `Path`, not empty, without a NUL.

    >>> check_paths(folder="")
    Traceback (most recent call last):
    ValueError: folder is '' (str): pass a path, as text or pathlib.Path
    """
    for name, value in given.items():
        if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
            raise ValueError(f"{name} is {_told(value)}: pass a path, as text or pathlib.Path")


def check_list(way: str, /, **given: Any) -> None:
    """Raise ValueError for what holds no items one after another: one text or one mapping is no list of them.

    >>> check_list("pass a list of prompts", prompts={"prompt": "Why?"})
    Traceback (most recent call last):
    ValueError: prompts is {'prompt': 'Why?'} (dict): pass a list of prompts
    """
    for name, value in given.items():
        if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
            raise ValueError(f"{name} is {_told(value)}: {way}")


def check_filled(way: str, /, **given: Any) -> None:
    """Raise ValueError for what is no list of known length, or an empty one.

    >>> check_filled("pass at least one seed", seeds=[])
    Traceback (most recent call last):
    ValueError: seeds is [] (list): pass at least one seed
    """
    check_list(way, **given)
    for name, value in given.items():
        if not isinstance(value, Collection) or not len(value):
            raise ValueError(f"{name} is {_told(value)}: {way}")


class Parser(argparse.ArgumentParser):
    """A parser of a command line that says what is wrong in one sentence, with exit code 2.

    >>> Parser(prog="python -m mine").parse_args(["--nope"])
    Traceback (most recent call last):
    SystemExit: 2
    """

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {' '.join(message.split())}; see {self.prog} --help\n")


def _told(value: Any, expected: bool = False) -> str:
    """A value with its type, unless that is the expected one, or stands there already."""
    text, kind = shown(value), type(value).__name__
    return text if expected or text == kind or value is None else f"{text} ({kind})"

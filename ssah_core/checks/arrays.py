"""Whether an answer is the number, array or tensor that an exercise asks for; and if not, what to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy
from torch import Tensor


@dataclass(frozen=True)
class Checked:
    """What a check found. It counts as true where the answer is right, and prints as one line."""

    right: bool
    why: str = ""
    """What is wrong, and the hint; never the expected values. Empty where nothing is."""

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return "right" if self.right else f"not yet: {self.why}"


def same(answer: Any, expected: Any, hint: str, tolerance: float = 1e-6,
         near: Mapping[str, Any] | None = None) -> Checked:
    """Whether an answer equals what is expected: first its shape, then its kind, then every value.

    answer      What the reader computed: a number, a truth value, nested lists, a numpy array or a torch tensor.
    expected    The right answer, in any of these forms. It may be NaN where the answer is to be NaN.
    hint        What to look at, in a sentence, for a reader whose answer is wrong.
    tolerance   How far a value may be off, as a share of the expected value, and of 1 where that is smaller. Whole
                numbers and truth values must be equal.
    near        What a likely mistake comes to, by its own hint, which is then told instead: hint -> wrong answer.

    An answer that is still `...`, or has such a part, has its hint too. Says where the first wrong value stands and how
    many are wrong; it never says what is right.
    Raises ValueError if the tolerance is negative, or `expected` holds no numbers: then the exercise is at fault.

    >>> from ssah_core.checks import same
    >>> print(same([3.0, 4.0], [3.0, 4.0], "variance divides by N - 1"))
    right
    >>> print(same([3.0, 4.5], [3.0, 4.0], "variance divides by N - 1"))
    not yet: 1 of 2 values are wrong, the first at [1] (yours: 4.5); variance divides by N - 1
    >>> print(same(2.0, 4.0, "square the norm", near={"that is the norm: its square is asked for": 2.0}))
    not yet: that is the norm: its square is asked for
    """
    if tolerance < 0:
        raise ValueError(f"tolerance={tolerance} is negative: give 0 for values that must be equal, or more")
    right, yours = _numbers(expected), _numbers(answer)
    if right is None:
        raise ValueError(f"expected={expected!r} holds no numbers: give a number, a list of them, an array or a tensor")
    if _is_open(answer):
        return Checked(False, f"nothing is there yet; {hint}")
    if yours is None:
        return Checked(False, f"your answer is {type(answer).__name__}, where numbers are asked for; {hint}")
    wrong = _of_another_form(yours, right) or _first_wrong(yours, right, tolerance)
    if not wrong:
        return Checked(True)
    likely = (why for why, value in (near or {}).items() if same(answer, value, "", tolerance))
    return Checked(False, next(likely, f"{wrong}; {hint}"))


def _is_open(answer: Any) -> bool:
    """Whether an answer, or a part of it, is still `...`."""
    return answer is ... or isinstance(answer, list | tuple) and any(map(_is_open, answer))


def _numbers(value: Any) -> numpy.ndarray | None:
    """The value as an array of truth values, whole numbers or float64; None where it is none of these."""
    try:
        # numpy has no bfloat16.
        array = value.detach().cpu().double().numpy() if _is_fractional(value) else numpy.asarray(value)
    except (TypeError, ValueError):
        return None
    if array.dtype.kind not in "biuf":
        return None
    return array.astype(numpy.float64) if array.dtype.kind == "f" else array


def _is_fractional(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _of_another_form(yours: numpy.ndarray, right: numpy.ndarray) -> str:
    if yours.shape != right.shape:
        return f"your answer has shape {list(yours.shape)}, where {list(right.shape)} is asked for"
    if (yours.dtype.kind == "b") != (right.dtype.kind == "b"):
        return f"your answer holds {yours.dtype}, where {right.dtype} is asked for"
    return ""


def _first_wrong(yours: numpy.ndarray, right: numpy.ndarray, tolerance: float) -> str:
    if right.dtype.kind == "f":
        off = ~numpy.isclose(yours, right, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        off = yours != right
    if not off.any():
        return ""
    first = tuple(int(axis) for axis in numpy.argwhere(off)[0])
    said = f"(yours: {yours[first].item():.6g})"
    if not first:
        return f"the value is wrong {said}"
    return f"{int(off.sum())} of {off.size} values are wrong, the first at {list(first)} {said}"

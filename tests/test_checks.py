"""Checks of exercises: right is right in any form; wrong says where and hints, and never what is right."""

import math
import re

import numpy
import pytest
import torch

from ssah_core.checks import same

HINT = "look at equation 2"


@pytest.mark.parametrize("answer", [[1.5, 2.0], (1.5, 2.0), numpy.array([1.5, 2.0]), torch.tensor([1.5, 2.0]),
                                    torch.tensor([1.5, 2.0], dtype=torch.bfloat16, requires_grad=True)])
def test_an_answer_is_right_in_any_form(answer):
    assert same(answer, torch.tensor([1.5, 2.0]), HINT)


def test_a_scalar_may_be_a_number_or_a_tensor():
    assert same(torch.tensor(3), 3, HINT) and same(0.1 + 0.2, 0.3, HINT) and same(True, torch.tensor(True), HINT)


def test_a_wrong_value_is_located_and_never_corrected():
    found = same(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [7.25, 8.0]], HINT)
    assert not found
    assert str(found) == f"not yet: 2 of 4 values are wrong, the first at [1, 0] (yours: 3); {HINT}"


def test_a_wrong_number_says_so_with_the_hint():
    assert str(same(2.0, 3.0, HINT)) == f"not yet: the value is wrong (yours: 2); {HINT}"


@pytest.mark.parametrize("answer, expected, says", [
    ([1.0, 2.0], [1.0, 2.0, 3.0], r"shape \[2\], where \[3\]"),
    ([[1.0], [2.0]], [1.0, 2.0], r"shape \[2, 1\], where \[2\]"),
    (None, 1.0, "NoneType, where numbers"), ("1", 1, "str, where numbers"),
    ([[1], [1, 2]], [1, 2], "list, where numbers"),
    ([1, 0], [True, False], "int64, where bool"), ([True, False], [1, 0], "bool, where int64"),
])
def test_an_answer_of_another_form_is_told_what_is_asked_for(answer, expected, says):
    found = same(answer, expected, HINT)
    assert not found
    assert re.search(says, found.why) and found.why.endswith(HINT)


def test_the_tolerance_is_relative_and_whole_numbers_have_none():
    assert same(1000.0005, 1000.0, HINT) and not same(1000.5, 1000.0, HINT)
    assert same(1000.5, 1000.0, HINT, tolerance=1e-3)
    assert not same(1_000_000_001, 1_000_000_000, HINT)


def test_nan_is_right_only_where_it_is_asked_for():
    assert same([math.nan], [math.nan], HINT)
    assert not same([math.nan], [1.0], HINT) and not same([1.0], [math.nan], HINT)


def test_an_exercise_at_fault_says_so():
    with pytest.raises(ValueError, match="expected='seven' holds no numbers"):
        same(7, "seven", HINT)
    with pytest.raises(ValueError, match="tolerance=-1 is negative"):
        same(7, 7, HINT, tolerance=-1)


@pytest.mark.parametrize("answer", [..., [1.0, ...], ([1.0, 2.0], [3.0, ...])])
def test_what_is_not_filled_in_is_not_there_yet(answer):
    found = same(answer, [1.0, 2.0], "look at the formula")
    assert not found and found.why == "nothing is there yet; look at the formula"


def test_a_near_miss_has_its_own_hint():
    assert same([2.0], [4.0], "square it", near={"that is the norm": [2.0]}).why == "that is the norm"
    assert same([3.0], [4.0], "square it", near={"that is the norm": [2.0]}).why.endswith("square it")

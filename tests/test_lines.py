"""Rows and columns are cleared and written as index_fill_ and index_copy_ do, bit for bit."""

import pytest
import torch

from ssah_core.freezing.lines import MANY, clear_lines, put_lines
from ssah_core.freezing.weight_slices import INTEGERS, differing

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
SHARES = (0.0, 0.02, 0.2, 0.7, 1.0)


def any_bits(shape, dtype) -> torch.Tensor:
    """Entries of all kinds, as random bits have them: NaNs of every payload, infinities, -0.0, subnormal numbers."""
    size, generator = torch.empty((), dtype=dtype).element_size(), torch.Generator().manual_seed(0)
    bits = torch.randint(-2 ** 62, 2 ** 62, shape, generator=generator).to(INTEGERS[size])
    made = bits.view(dtype)
    made[0, :4] = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0], dtype=dtype)
    return made


def some(size, share) -> torch.Tensor:
    order = torch.randperm(size, generator=torch.Generator().manual_seed(1))
    return order[:round(share * size)].sort().values


def same(a, b) -> bool:
    return not differing(a, b).any()


@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_lines_are_cleared_and_written_as_one_after_another(dtype, axis, share, is_transposed):
    found = any_bits((50, 70), dtype)
    found = found.T if is_transposed else found
    wanted, index = found.clone(memory_format=torch.preserve_format), some(found.shape[axis], share)
    lines = wanted.index_select(axis, index)
    clear_lines(found, axis, index)
    assert same(found, wanted.clone().index_fill_(axis, index, 0))
    put_lines(found, axis, index, lines)
    assert same(found, wanted)


def test_both_ways_to_clear_are_taken():
    assert all(SHARES[1] < share < SHARES[3] for share in MANY)


def test_lines_of_a_vector_and_of_no_rows():
    vector, nothing = any_bits((2, 60), torch.float32)[0].clone(), torch.zeros(0, 3)
    kept = vector.clone()
    for share in SHARES:
        clear_lines(vector, 0, some(60, share))
        assert same(vector, kept.index_fill_(0, some(60, share), 0))
    for axis in (0, 1):
        clear_lines(nothing, axis, torch.arange(nothing.shape[axis]))
        put_lines(nothing, axis, torch.arange(nothing.shape[axis]), torch.zeros(0, 3))


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_written_is_a_change_that_autograd_sees(axis):
    weight = torch.nn.Parameter(torch.zeros(4, 5))
    version = weight._version
    with torch.no_grad():
        put_lines(weight, axis, torch.tensor([1]), torch.ones((1, 5) if axis == 0 else (4, 1)))
    assert weight._version > version and weight.sum() == (5 if axis == 0 else 4)

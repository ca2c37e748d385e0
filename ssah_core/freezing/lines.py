"""Rows or columns of a weight, cleared and written in place as fast as memory allows, and bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor

from .weight_slices import INTEGERS

MANY = (0.4, 0.1)
"""Share of the rows, of the columns, from which on going through a whole matrix takes less time than picking them."""


def clear_lines(matrix: Tensor, axis: int, index: Tensor) -> None:
    """Set rows (axis 0) or columns (axis 1) of a tensor to 0 in place, whatever they hold: a NaN, too.

    index   int64 [line], on the tensor's device

    Many of them are cleared by their bits, which leaves those of the others as they are.

    >>> matrix = torch.tensor([[1.0, float("nan")], [-0.0, float("inf")]])
    >>> clear_lines(matrix, 1, torch.tensor([1]))
    >>> matrix.tolist()
    [[1.0, 0.0], [-0.0, 0.0]]
    """
    size, kind = matrix.shape[axis], INTEGERS[matrix.element_size()]
    if len(index) < MANY[axis] * size:
        matrix.index_fill_(axis, index, 0)
        return
    keep = torch.full((size,), -1, dtype=kind, device=matrix.device).index_fill_(0, index, 0)  # all bits, or none
    matrix.view(kind).bitwise_and_(keep.view(-1, *(1,) * (matrix.dim() - 1 - axis)))


def put_lines(matrix: Tensor, axis: int, index: Tensor, lines: Tensor) -> None:
    """Write rows (axis 0) or columns (axis 1) of a tensor in place.

    index   int64 [line], each once, on the tensor's device
    lines   what is written, of the tensor's dtype: [line, ...] or [row, line]

    As `index_copy_` does, which takes one column after another through all of memory.

    >>> matrix = torch.zeros(2, 3)
    >>> put_lines(matrix, 1, torch.tensor([2, 0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> matrix.tolist()
    [[2.0, 0.0, 1.0], [4.0, 0.0, 3.0]]
    """
    if axis == 0:
        matrix.index_copy_(0, index, lines)
        return
    kind = INTEGERS[matrix.element_size()]
    matrix.view(kind).scatter_(1, index.expand(len(matrix), -1), lines.view(kind))

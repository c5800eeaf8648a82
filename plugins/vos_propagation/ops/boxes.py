"""A box around each object, which the decoder works in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from torch import Tensor

from vos.plugin import AnyArray

# Cells around an object that are in its box: what the decoder needs to see of the ground.
ROOM = 6
# Boxes begin at multiples of the first number of cells, for the decoder's coarsest grid, and have sides that are
# multiples of the second or the whole grid's: for each new size, kernels are made and kept.
ALIGNED, GRAIN = 4, 8

Box: TypeAlias = tuple[slice, slice]
"""Rows and columns of a part of the grid of cells."""


def boxes_around(likely: Tensor) -> list[Box | None]:
    """Box each row's True cells, with ``ROOM`` cells around; None for an empty row. One copy to the host."""
    rows, columns = likely.any(2).cpu().numpy(), likely.any(1).cpu().numpy()
    return [(_span(row), _span(column)) if row.any() else None for row, column in zip(rows, columns, strict=True)]


def within(part: slice, whole: slice) -> slice:
    """Slice ``part`` relative to the start of ``whole``."""
    return slice(part.start - whole.start, part.stop - whole.start)


def at_stride(box: Box, stride: int) -> Box:
    """Scale a box of cells of 8 px to a grid of another stride; for a coarser one it must be aligned."""
    rows, columns = (slice(part.start * 8 // stride, part.stop * 8 // stride) for part in box)
    return rows, columns


def scale2x(part: slice) -> slice:
    """The same interval on a grid of twice the size."""
    return slice(2 * part.start, 2 * part.stop)


def _span(likely: AnyArray) -> slice:
    """Span the True cells of a line, ``ROOM`` cells around, and more up to the next side of a box where it fits."""
    at = np.flatnonzero(likely)
    first, last = max(int(at[0]) - ROOM, 0) // ALIGNED * ALIGNED, min(int(at[-1]) + ROOM, len(likely) - 1)
    length = min(-(-(last - first + 1) // GRAIN) * GRAIN, len(likely))
    first = min(first, len(likely) - length)
    return slice(first, first + length)

"""A box around each object, and boxes of about one size that the decoder takes in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from torch import Tensor

from vos.plugin import AnyArray, Size

# Cells around an object that are in its box: what the decoder needs to see of the ground.
ROOM = 6
# Boxes begin at multiples of the first number of cells, for the decoder's coarsest grid, and have sides that are
# multiples of the second or the whole grid's: for each new size, kernels are made and kept.
ALIGNED, GRAIN = 4, 8
# A call of the decoder takes as long as so many cells more, cut out and put back.
CALL = 1200

Box: TypeAlias = tuple[slice, slice]
"""Rows and columns of a part of the grid of cells."""


def boxes_around(likely: Tensor) -> list[Box | None]:
    """Box each row's True cells, with ``ROOM`` cells around; None for an empty row. One copy to the host."""
    rows, columns = likely.any(2).cpu().numpy(), likely.any(1).cpu().numpy()
    return [(_span(row), _span(column)) if row.any() else None for row, column in zip(rows, columns, strict=True)]


def batches_of(boxes: Sequence[Box | None], shape: Size) -> list[list[tuple[int, Box, Box]]]:
    """Group boxes of similar sizes, grown to the largest of the group.

    The fewer calls of the decoder the better: one takes as long as ``CALL`` cells more.

    Args:
        boxes: each row's, or None.
        shape: (h, w) of the grid, cells.
    Returns:
        For each call its rows, each with its own box and with the one that the decoder sees, of one size in a call.
    """
    batches: list[tuple[Size, list[tuple[int, Box]]]] = []
    for row, box in enumerate(boxes):
        if box is None:
            continue
        size, rows = (box[0].stop - box[0].start, box[1].stop - box[1].start), [(row, box)]
        while batches:
            further = [_work(_both(size, s), len(rows) + len(r)) - _work(s, len(r)) for s, r in batches]
            best = min(range(len(batches)), key=further.__getitem__)
            if further[best] > _work(size, len(rows)):
                break
            other, before = batches.pop(best)
            size, rows = _both(size, other), before + rows
        batches.append((size, rows))
    return [[(row, box, _grown(box, size, shape)) for row, box in rows] for size, rows in batches]


def within(part: slice, whole: slice) -> slice:
    """Slice ``part`` relative to the start of ``whole``."""
    return slice(part.start - whole.start, part.stop - whole.start)


def at_stride(box: Box, stride: int) -> Box:
    """Scale a box of cells of 8 px to a grid of another stride; for a coarser one it must be aligned."""
    rows, columns = (slice(part.start * 8 // stride, part.stop * 8 // stride) for part in box)
    return rows, columns


def _work(size: Size, count: int) -> int:
    """Estimate the time of a call of the decoder with so many boxes of a size, in cells."""
    return CALL + count * size[0] * size[1]


def _both(one: Size, other: Size) -> Size:
    return max(one[0], other[0]), max(one[1], other[1])


def _grown(box: Box, size: Size, shape: Size) -> Box:
    """Grow ``box`` to this size within the grid; it begins at a multiple of ``ALIGNED``."""
    starts = [
        min(max(0, part.start - (length - (part.stop - part.start)) // (2 * ALIGNED) * ALIGNED), limit - length)
        for part, length, limit in zip(box, size, shape, strict=True)
    ]
    return slice(starts[0], starts[0] + size[0]), slice(starts[1], starts[1] + size[1])


def _span(likely: AnyArray) -> slice:
    """Span the True cells of a line, ``ROOM`` cells around, and more up to the next side of a box where it fits."""
    at = np.flatnonzero(likely)
    first, last = max(int(at[0]) - ROOM, 0) // ALIGNED * ALIGNED, min(int(at[-1]) + ROOM, len(likely) - 1)
    length = min(-(-(last - first + 1) // GRAIN) * GRAIN, len(likely))
    first = min(first, len(likely) - length)
    return slice(first, first + length)

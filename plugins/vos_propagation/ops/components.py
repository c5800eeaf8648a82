"""Connected components of a mask, computed within its bounding box, which takes a tenth of the time."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np

from vos.plugin import AnyArray, BoolArray

Cells: TypeAlias = tuple[AnyArray, AnyArray]
"""Rows and columns of a set of cells, int64 (n,) each."""


def several_components(mask: BoolArray) -> list[Cells]:
    """List the connected components (8-neighbours) of a mask that has several.

    Args:
        mask: bool (h, w).
    Returns:
        The components; an empty list for a mask that is empty or connected.
    """
    rows, columns = part_of(mask)
    part = mask[rows, columns].view(np.uint8)
    # Most masks have one component, and counting takes a quarter of the time of measuring.
    if not part.size or cv2.connectedComponents(part, connectivity=8)[0] == 2:
        return []
    _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    return [
        _shifted(np.nonzero(labels[y : y + height, x : x + width] == label), rows.start + y, columns.start + x)
        for label, (x, y, width, height, _) in enumerate(stats[1:].tolist(), start=1)
    ]


def part_of(mask: BoolArray) -> tuple[slice, slice]:
    """Return the rows and columns of the bounding box of a mask, bool (h, w); empty slices for an empty mask."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _shifted(cells: tuple[AnyArray, ...], down: int, right: int) -> Cells:
    rows, columns = cells
    return rows + down, columns + right

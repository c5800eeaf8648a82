"""How large frames are worked on: cells of 8 px are too coarse for small objects, and too fine for very large ones."""

from __future__ import annotations

import math

import numpy as np

from vos import LabelMap

# An object with a smaller area than the square of the first, in pixels of the frame as the preset has it, is small, and
# one with a larger area than the square of the second large.
SMALL, LARGE = 96, 300
# Frames are worked on at no more than so many times the preset's side, nor beyond these, pixels, unless the preset is.
MOST, LEAST_SIDE, MOST_SIDE = 1.5, 448, 816


def side_for(side: int, label_map: LabelMap) -> int:
    """Give the short side that frames are to be worked on at, by the smallest object in the first of them.

    Args:
        side: what the preset says, pixels.
        label_map: uint8 (H, W), the first frame's, without void.
    Returns:
        ``side``, or more for a small object: by the root of what it lacks. Less where all objects are large.
    """
    areas = np.bincount(label_map.ravel())[1:]
    if not areas.any():
        return side
    smallest: float = math.sqrt(areas[areas > 0].min()) * side / min(label_map.shape)
    if smallest < SMALL:
        return max(side, min(round(side * min(math.sqrt(SMALL / smallest), MOST)), MOST_SIDE))
    return min(side, max(round(side * min(LARGE / smallest, 1.0)), LEAST_SIDE))

"""The working size of frames: finer for small objects, coarser for very large ones and for several."""

from __future__ import annotations

import math

import numpy as np

from vos.plugin import LabelMap

# An object with less area than the square of this, pixels of the frame as the preset has it, is small.
SMALL = 96
# An object with more area than the square of this share of the short side is large.
LARGE = 0.55
# What each further object adds to a frame's time at the same size (measured), and shall add: shares of one object's.
ADDS, SHALL_ADD = 0.23, 0.10
# Frames are worked on at no more than so many times the preset's side, nor beyond these, pixels, unless the preset is.
MOST, LEAST_SIDE, MOST_SIDE = 1.5, 448, 816


def side_for_objects(side: int, label_map: LabelMap) -> int:
    """Give the short side that frames are to be worked on at, by the smallest object in the first of them.

    Args:
        side: what the preset says, pixels.
        label_map: uint8 (H, W), the first frame's, without void.
    Returns:
        ``side``, or more for a small object: by the root of what it lacks. Less where all objects are large, and less
        for several, unless one of them would be small then.
    """
    areas = np.bincount(label_map.ravel())[1:]
    areas = areas[areas > 0]
    if not len(areas):
        return side
    share: float = math.sqrt(areas.min()) / min(label_map.shape)
    if share * side < SMALL:
        return max(side, min(round(side * min(math.sqrt(SMALL / (share * side)), MOST)), MOST_SIDE))
    further = len(areas) - 1
    less = math.sqrt((1 + SHALL_ADD * further) / (1 + ADDS * further))
    return min(side, max(round(side * less * min(LARGE / share, 1.0)), LEAST_SIDE, math.ceil(SMALL / share)))

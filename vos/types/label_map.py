"""Label maps: the values that one holds, its object ids, and its masks.

A label map is uint8 (H, W): 0 is background, 1..254 are object ids, 255 is void (not scored, and
only in annotations). An id belongs to one object for the whole sequence.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from vos.types.arrays import BoolArray, LabelMap

BACKGROUND = 0
VOID = 255
MAX_OBJECT_ID = 254

FEW_IDS = 16
"""Up to this id, looking for each id in turn is faster than a histogram of the pixels."""


def object_ids(label_map: LabelMap) -> tuple[int, ...]:
    """List the object ids in a label map.

    Args:
        label_map: uint8 (H, W).
    Returns:
        Ids from 1 to 254 that at least one pixel has, ascending; void is not an object.
    """
    highest = int(label_map.max(initial=0))
    if highest <= FEW_IDS:
        return tuple(i for i in range(1, highest + 1) if (label_map == i).any())
    present = np.bincount(label_map.ravel(), minlength=256) > 0
    return tuple(int(i) for i in np.flatnonzero(present[: MAX_OBJECT_ID + 1]) if i != BACKGROUND)


def only_void(label_map: LabelMap) -> bool:
    """True if a label map holds 255, and apart from it only 0: only void, or one mask in black and white.

    Args:
        label_map: uint8 (H, W).
    """
    return int(label_map.max(initial=0)) == VOID and not ((label_map > 0) & (label_map < VOID)).any()


def without_void(label_map: LabelMap) -> LabelMap:
    """Make void pixels background.

    Args:
        label_map: uint8 (H, W).
    Returns:
        uint8 (H, W) without 255; a copy only where there was void.
    """
    if int(label_map.max(initial=0)) < VOID:
        return label_map
    cleared: LabelMap = label_map.copy()
    cleared[label_map == VOID] = BACKGROUND
    return cleared


def masks_of(label_map: LabelMap, ids: Iterable[int]) -> BoolArray:
    """Split a label map into one mask for each id.

    Args:
        label_map: uint8 (H, W).
        ids: K ids, in the order wanted.
    Returns:
        bool (K, H, W).
    """
    wanted = np.fromiter(ids, dtype=np.uint8)
    return np.asarray(label_map[None] == wanted[:, None, None])

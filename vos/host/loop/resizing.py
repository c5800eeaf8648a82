"""Frames and label maps at a smaller size, for ``--max-side``."""

from __future__ import annotations

import numpy as np

from vos.types.arrays import LabelMap, Size
from vos.types.frame import Frame
from vos.types.label_map import object_ids


def shrunk_size(size: Size, max_side: int | None) -> Size:
    """The size whose longer side is at most ``max_side``; the same size if it is, or for None.

    Args:
        size: (H, W), pixels.
        max_side: pixels, or None.
    Returns:
        (H, W), each at least 1.
    """
    longer = max(size)
    if max_side is None or longer <= max_side:
        return size
    return max(1, round(size[0] * max_side / longer)), max(1, round(size[1] * max_side / longer))


def resize_frame(frame: Frame, size: Size) -> Frame:
    """The same frame with its image area-averaged to a size (H, W); the frame itself if it has that size."""
    if frame.size == size:
        return frame
    import cv2  # here, so that `import vos` stays quick

    image = cv2.resize(frame.image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return Frame(frame.index, np.asarray(image, dtype=np.uint8), frame.name, frame.time)


def shrink_label_map(label_map: LabelMap, size: Size) -> LabelMap:
    """Shrink a label map so that no object is lost, where there are as many pixels as objects.

    Args:
        label_map: uint8 (H, W) of 0 and ids.
        size: (H, W) wanted, no larger.
    Returns:
        uint8 ``size``: each pixel has the id that covers most of it; an object too small to win any
        pixel gets the one that it covers best, or the nearest to it that is not all that another object has.
    """
    if label_map.shape == size:
        return label_map
    import cv2

    ids = object_ids(label_map)
    covers = [
        cv2.resize((label_map == i).astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA) for i in ids
    ]
    shrunk = np.zeros(size, dtype=np.uint8)
    best = np.full(size, 0.5, dtype=np.float32) if len(ids) == 1 else 1 - np.sum(covers, axis=0)
    for object_id, cover in zip(ids, covers, strict=True):
        wins = cover > best
        shrunk[wins] = object_id
        best = np.maximum(best, cover)
    for object_id, cover in zip(ids, covers, strict=True):
        if not (shrunk == object_id).any():
            counts = np.bincount(shrunk.ravel(), minlength=256)
            rows, columns = np.nonzero((shrunk == 0) | (counts[shrunk] > 1))
            row, column = np.unravel_index(int(np.argmax(cover)), size)
            if len(rows):  # else there are more objects than pixels
                nearest = int(np.argmin((rows - row) ** 2 + (columns - column) ** 2))
                shrunk[rows[nearest], columns[nearest]] = object_id
    return shrunk

"""Merge objects into label maps: argmax of logits against a zero background, and corrections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vos.errors import PluginFailedError
from vos.types.arrays import AnyArray, LabelMap, Size
from vos.types.label_map import object_ids
from vos.types.prediction import Prediction


def merge_objects(prediction: Prediction, size: Size) -> LabelMap:
    """Assign each pixel to the object with the highest logit above 0, else to the background.

    Logits of another size are resized bilinearly with half-pixel centres (``align_corners=False``).
    Objects that are not ``present`` are left out. Ties go to the earlier row.

    Args:
        prediction: logits float32 (K, h, w).
        size: (H, W) of the label map, pixels.
    Returns:
        uint8 (H, W) of 0 and ids in ``object_ids``.
    """
    import cv2  # here, so that `import vos` stays quick

    height, width = size
    if prediction.label_map is not None:
        return _resize_label_map(prediction, size)
    label_map = np.zeros(size, dtype=np.uint8)
    # All rows share scratch buffers: allocating them takes longer than filling them.
    resized, highest = np.empty(size, np.float32), np.zeros(size, np.float32)
    is_highest, own_id = np.empty_like(label_map), np.empty_like(label_map)
    for row, object_id in enumerate(prediction.object_ids):
        if prediction.present is not None and not prediction.present[row]:
            continue
        above = np.flatnonzero(prediction.logits[row].max(axis=1) > 0)
        if not above.size:
            continue
        plane, lines = _band(prediction.logits[row], int(above[0]), int(above[-1]), height)
        if plane.shape != (lines.stop - lines.start, width):
            plane = cv2.resize(
                plane, (width, lines.stop - lines.start), dst=resized[lines], interpolation=cv2.INTER_LINEAR
            )
        best = highest[lines]
        cv2.compare(plane, best, cv2.CMP_GT, dst=is_highest[lines])
        own_id[lines].fill(object_id)
        cv2.copyTo(own_id[lines], is_highest[lines], label_map[lines])
        cv2.max(plane, best, dst=best)
    return label_map


def _band(plane: AnyArray, first: int, last: int, height: int) -> tuple[AnyArray, slice]:
    """Crop a plane to the rows that can have a positive value after it is resized.

    The crop starts and ends where a row of the plane and a row of the resized plane start together, so the resized crop
    equals a crop of the resized plane.

    Args:
        plane: float32 (h, w).
        first: first row with a positive value.
        last: last row with a positive value.
        height: number of rows after resizing.
    Returns:
        The crop, and the rows of the resized plane that it becomes.
    """
    parts = math.gcd(len(plane), height)
    step, stride = len(plane) // parts, height // parts
    # A row of the resized plane depends on two neighbouring rows of the plane.
    start, stop = max(0, first - 1) // step, -(-min(len(plane), last + 2) // step)
    return plane[start * step : stop * step], slice(start * stride, stop * stride)


def _resize_label_map(prediction: Prediction, size: Size) -> LabelMap:
    label_map = prediction.label_map
    assert label_map is not None
    present = prediction.present
    if present is not None:
        hidden = [i for i, here in zip(prediction.object_ids, present, strict=True) if not here]
        if hidden and np.isin(label_map, hidden).any():
            label_map = np.where(np.isin(label_map, hidden), 0, label_map).astype(np.uint8)
    if label_map.shape == size:
        return label_map
    import cv2

    resized = cv2.resize(label_map, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.uint8)


def checked_label_map(label_map: object, prediction: Prediction, size: Size, who: str) -> LabelMap:
    """Check the label map that a ``vos_merge_objects`` hook returned.

    Args:
        label_map: the hook's result.
        prediction: the hook's input.
        size: (H, W) of the frame.
        who: the plugin's name in messages.
    Returns:
        A copy: writers may still hold it when the hook fills its array again.
    Raises:
        PluginFailedError: not uint8 of the frame's size, or ids that the prediction does not have.
    """
    if not isinstance(label_map, np.ndarray):
        raise PluginFailedError(f"{who}: vos_merge_objects returned a {type(label_map).__name__}, expected an array.")
    if label_map.dtype != np.uint8 or label_map.shape != size:
        found = f"{label_map.dtype} {label_map.shape}"
        raise PluginFailedError(f"{who}: vos_merge_objects returned {found}, expected uint8 {size}.")
    unknown = sorted(set(object_ids(label_map)) - set(prediction.object_ids))
    if unknown or (label_map == 255).any():
        raise PluginFailedError(
            f"{who}: vos_merge_objects returned ids {unknown or [255]} that the prediction does not have."
        )
    copied: LabelMap = label_map.copy()
    return copied


def correct_label_map(label_map: LabelMap, given: LabelMap, ids: Sequence[int]) -> LabelMap:
    """Replace the pixels of the objects ``ids`` by an annotation; other objects keep the pixels outside it."""
    corrected = np.where(np.isin(label_map, ids), 0, label_map).astype(np.uint8)
    marked = given > 0
    corrected[marked] = given[marked]
    return corrected

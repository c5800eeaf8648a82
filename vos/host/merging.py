"""Label maps out of logits and corrections; the default of ``vos_merge_objects`` is an argmax against zero."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vos.errors import PluginFailedError
from vos.types.arrays import AnyArray, LabelMap, Size
from vos.types.label_map import object_ids
from vos.types.prediction import Prediction


def merge_objects(prediction: Prediction, size: Size) -> LabelMap:
    """Give each pixel to the object with the highest logit above 0, else to the background.

    Logits of another size are resized bilinearly with half-pixel centres (``align_corners=False``).
    Objects that are not ``present`` are left out. Ties go to the earlier row.

    Args:
        prediction: logits float32 (K, h, w).
        size: (H, W) wanted, pixels.
    Returns:
        uint8 (H, W) of 0 and ids in ``object_ids``.
    """
    import cv2  # here, so that `import vos` stays quick

    height, width = size
    if prediction.label_map is not None:
        return _resize_label_map(prediction, size)
    label_map = np.zeros(size, dtype=np.uint8)
    # All rows share the memory for what is needed in between: new memory takes longer than the work done in it.
    resized, highest = np.empty(size, np.float32), np.zeros(size, np.float32)
    wins, own = np.empty_like(label_map), np.empty_like(label_map)
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
        cv2.compare(plane, best, cv2.CMP_GT, dst=wins[lines])
        own[lines].fill(object_id)
        cv2.copyTo(own[lines], wins[lines], label_map[lines])
        cv2.max(plane, best, dst=best)
    return label_map


def _band(plane: AnyArray, first: int, last: int, height: int) -> tuple[AnyArray, slice]:
    """Cut a plane (h, w) down to lines around those from ``first`` to ``last``, outside of which nothing is above 0.

    It is cut only where a line begins together with one of the ``height`` that are wanted: so the part, resized, is a
    part of the whole, resized.

    Returns:
        The part, and which of the lines wanted it becomes.
    """
    parts = math.gcd(len(plane), height)
    step, stride = len(plane) // parts, height // parts
    # A line that is wanted depends on two of the plane.
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
    """Check what a ``vos_merge_objects`` hook returned.

    Raises:
        PluginFailedError: not uint8 of the frame's size, or ids that the prediction does not have.
    """
    if not isinstance(label_map, np.ndarray):
        raise PluginFailedError(f"{who}: vos_merge_objects returned a {type(label_map).__name__}, expected an array.")
    if label_map.dtype != np.uint8 or label_map.shape != size:
        found = f"{label_map.dtype} {label_map.shape}"
        raise PluginFailedError(f"{who}: vos_merge_objects returned {found}, expected uint8 {size}.")
    strange = sorted(set(object_ids(label_map)) - set(prediction.object_ids))
    if strange or (label_map == 255).any():
        raise PluginFailedError(
            f"{who}: vos_merge_objects returned ids {strange or [255]} that the prediction does not have."
        )
    return label_map


def correct_label_map(label_map: LabelMap, given: LabelMap, ids: Sequence[int]) -> LabelMap:
    """Replace the annotated objects' pixels; an object that the annotation leaves out keeps its others."""
    corrected = np.where(np.isin(label_map, ids), 0, label_map).astype(np.uint8)
    marked = given > 0
    corrected[marked] = given[marked]
    return corrected

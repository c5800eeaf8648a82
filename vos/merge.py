"""The default answer to ``vos_merge_objects``: argmax over the objects against a zero background."""

from __future__ import annotations

import numpy as np

from vos.arrays import AnyArray, LabelMap, Size
from vos.prediction import Prediction


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
    rows = _visible_rows(prediction)
    # All rows share the memory for what is needed in between: new memory takes longer than the work done in it.
    resized, best = np.empty(size, np.float32), np.zeros(size, np.float32)
    wins, own = np.empty_like(label_map), np.empty_like(label_map)
    for row in rows:
        plane: AnyArray = prediction.logits[row]
        if plane.shape != size:
            plane = cv2.resize(plane, (width, height), dst=resized, interpolation=cv2.INTER_LINEAR)
        cv2.compare(plane, best, cv2.CMP_GT, dst=wins)
        own.fill(prediction.object_ids[row])
        cv2.copyTo(own, wins, label_map)
        if row != rows[-1]:
            cv2.max(plane, best, dst=best)
    return label_map


def _visible_rows(prediction: Prediction) -> list[int]:
    """Rows of objects that are present and have a positive logit anywhere."""
    present = prediction.present
    return [
        row
        for row in range(len(prediction.object_ids))
        if (present is None or present[row]) and prediction.logits[row].max() > 0
    ]


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

"""Conversion of results to the types of other libraries, which are imported on the first call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vos.conversion.finished_run import find_results
from vos.errors import ExtraMissingError
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.label_map import masks_of, object_ids

if TYPE_CHECKING:
    import pandas
    import supervision

COLUMNS = ("sequence", "frame_index", "frame", "object_id", "area", "x0", "y0", "x1", "y1", "centre_x", "centre_y")


def to_supervision(
    frame: Frame, label_map: LabelMap, scores: Mapping[int, float] | None = None
) -> supervision.Detections:
    """Turn a label map into supervision's detections, one an object.

    Args:
        frame: the frame, as ``vos.stream`` yields it; its index, name and time go into ``metadata``.
        label_map: uint8 (H, W), as ``vos.stream`` yields it.
        scores: confidence by object id, or None.
    Returns:
        ``supervision.Detections`` with ``mask`` bool (K, H, W), ``xyxy`` (its x1 and y1 are one past the last pixel),
        ``tracker_id`` the object ids, and ``class_id`` the same less 1.
    Raises:
        ExtraMissingError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise ExtraMissingError("vos.to_supervision needs supervision: pip install supervision") from error
    ids = object_ids(label_map)
    masks = masks_of(label_map, ids)
    confidence = None if scores is None else np.asarray([scores[i] for i in ids], dtype=np.float32)
    boxes = np.asarray([_box(mask) for mask in masks], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += 1
    numbers = np.asarray(ids, dtype=np.int64)
    return supervision.Detections(
        xyxy=boxes, mask=masks, confidence=confidence, class_id=numbers - 1, tracker_id=numbers,
        metadata={"frame_index": frame.index, "frame": frame.name, "time": frame.time},
    )  # fmt: skip


def to_table(result: Path | str) -> pandas.DataFrame:
    """Turn finished runs into a table of tracks: a row for each object in each frame that has it.

    Args:
        result: a sequence's own folder (``OUT/<sequence>``), or a folder of such folders.
    Returns:
        ``pandas.DataFrame`` with the columns ``COLUMNS``: sequence, frame index and name, object id, area in
        pixels, box (x1 and y1 are the last object pixel) and centre of area, x first, in pixels.
    Raises:
        ExtraMissingError: pandas is not installed.
        InputError: no finished run there.
    """
    try:
        import pandas
    except ImportError as error:
        raise ExtraMissingError("vos.to_table needs pandas: pip install pandas") from error
    rows = []
    for one in find_results(Path(result)):
        info = one.run(None, one.folder).source
        for frame, prediction in one.frames(None, info):
            label_map = prediction.label_map
            assert label_map is not None, "made from one"
            for object_id in object_ids(label_map):
                mask = label_map == object_id
                y, x = np.nonzero(mask)
                box = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
                centre = (round(float(x.mean()), 3), round(float(y.mean()), 3))
                rows.append((one.sequence, frame.index, frame.name, object_id, len(x), *box, *centre))
    return pandas.DataFrame(rows, columns=list(COLUMNS))


def _box(mask: Any) -> tuple[int, int, int, int]:
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max()), int(y.max())

"""Pictures for people: objects in their palette colours over a frame, with contours and ids."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vos.types.arrays import Image, LabelMap
from vos.types.label_map import object_ids
from vos.types.palette import PALETTE


def draw_objects(
    image: Image,
    label_map: LabelMap,
    *,
    opacity: float = 0.5,
    contours: bool = True,
    ids: bool = True,
    notes: Mapping[int, str] | None = None,
) -> Image:
    """Draw a label map over an image.

    Args:
        image: uint8 (H, W, 3), RGB.
        label_map: uint8 (H, W); void is not drawn.
        opacity: of the fill, from 0 (contours alone) to 1.
        contours: draw a light line inside each object's edge.
        ids: write each object's id near its middle.
        notes: short texts by object id, written after the id (a score, a name).
    Returns:
        uint8 (H, W, 3), RGB; a new array.
    """
    import cv2  # here, so that `import vos` stays quick

    drawn: Image = image.copy()
    present = object_ids(label_map)
    if not present:
        return drawn
    marked = np.asarray(cv2.inRange(label_map, 1, 254), dtype=np.uint8)
    colours: Image = PALETTE[label_map]
    cv2.copyTo(cv2.addWeighted(image, 1 - opacity, colours, opacity, 0), marked, drawn)
    if contours:
        lighter = (colours // 2 + 128).astype(np.uint8)
        cv2.copyTo(lighter, _edges(label_map) & marked, drawn)
    if ids:
        for object_id in present:
            note = (notes or {}).get(object_id)
            _write_id(drawn, label_map, object_id, str(object_id) if note is None else f"{object_id} {note}")
    return drawn


def _edges(label_map: LabelMap) -> LabelMap:
    """255 where a pixel or its right or lower neighbour belongs to another object, 2 px wide."""
    edges = np.zeros(label_map.shape, dtype=np.uint8)
    across = label_map[:, 1:] != label_map[:, :-1]
    down = label_map[1:] != label_map[:-1]
    edges[:, 1:][across] = 255
    edges[:, :-1][across] = 255
    edges[1:][down] = 255
    edges[:-1][down] = 255
    return edges


def _write_id(drawn: Image, label_map: LabelMap, object_id: int, text: str) -> None:
    """Write a text at the object's innermost pixel, black on white, sized by the frame's height."""
    import cv2

    mask = (label_map == object_id).astype(np.uint8)
    box = cv2.boundingRect(mask)
    x, y, width, height = box
    inside = cv2.distanceTransform(
        cv2.copyMakeBorder(mask[y : y + height, x : x + width], 1, 1, 1, 1, 0), cv2.DIST_L2, 3
    )
    row, column = divmod(int(np.argmax(inside)), inside.shape[1])
    scale = max(0.4, drawn.shape[0] / 900)
    thickness = max(1, round(scale * 2))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    at = (x + column - 1 - text_width // 2, y + row - 1 + text_height // 2)
    for colour, width_px in (((0, 0, 0), thickness + 2), ((255, 255, 255), thickness)):
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width_px, cv2.LINE_AA)

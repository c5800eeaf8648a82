"""What an object uncovers and leaves behind: small pieces that stay with the ground while the object moves on."""

from __future__ import annotations

import cv2
import numpy as np

from vos import AnyArray, FloatArray

# A piece moves like the ground around it if their flows differ by less, and the object does not if they differ by
# more; cells a frame.
SAME, OTHER = 0.4, 1.0
# Largest piece, as a share of the object's largest; smallest, in cells.
SHARE, SMALLEST = 0.3, 6
# A piece that looks like the object is kept: its mean score by the target model is above this.
ALIKE = 0.45
# How far around a piece the ground is looked at, cells.
AROUND = 4


def leftovers(masks: AnyArray, score: FloatArray, flow: FloatArray) -> AnyArray:
    """Find pieces of objects that are not theirs.

    Args:
        masks: bool (K, h, w), each object's mask.
        score: float32 (K, h / 2, w / 2), the target model's.
        flow: float32 (h, w, 2), of the image, cells a frame.
    Returns:
        bool (K, h, w).
    """
    found = np.zeros_like(masks)
    taken: AnyArray | None = None
    for mask, own_score, own_found in zip(masks, score, found, strict=True):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        if count <= 2:
            continue
        taken = _grown(np.logical_or.reduce(masks, axis=0), 1) if taken is None else taken
        fine_score = own_score.repeat(2, axis=0).repeat(2, axis=1)
        areas = stats[1:, cv2.CC_STAT_AREA]
        largest = 1 + int(areas.argmax())
        motion = np.median(flow[pieces == largest], 0)
        for label, area in enumerate(areas, start=1):
            if not SMALLEST <= area <= SHARE * areas.max():
                continue
            piece = pieces == label
            ground = _grown(piece, AROUND) & ~taken
            if ground.sum() < SMALLEST or fine_score[piece].mean() > ALIKE:
                continue
            around = np.median(flow[ground], 0)
            still = np.hypot(*(np.median(flow[piece], 0) - around)) < SAME
            if still and np.hypot(*(motion - around)) > OTHER:
                own_found |= piece
    return found


def _grown(mask: AnyArray, cells: int) -> AnyArray:
    side = 2 * cells + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0)

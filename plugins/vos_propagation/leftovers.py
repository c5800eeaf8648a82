"""What an object uncovers and leaves behind: small pieces that stay with the ground while the object moves on."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vos import AnyArray, FloatArray, Size
from vos_propagation.head import LOGIT_LIMIT

# A piece moves like the ground around it if their flows differ by less, and the object does not if they differ by
# more; cells a frame.
SAME, OTHER = 0.4, 1.0
# Largest piece, as a share of the object's largest; smallest, in cells.
SHARE, SMALLEST = 0.3, 6
# A piece that looks like the object is kept: its mean score by the target model is above this.
ALIKE = 0.45
# How far around a piece the ground is looked at, cells.
AROUND = 4


def without_leftovers(logits: Tensor, score: Tensor, flow: FloatArray) -> Tensor:
    """Take from the logits (K, 2 h, 2 w) what the objects uncovered and left behind; ``score`` is (K, h, w)."""
    masks = (logits > 0).cpu().numpy()
    found = leftovers(masks, score.cpu().numpy(), flow)
    if not found.any():
        return logits
    return logits.masked_fill(torch.from_numpy(found).to(logits.device), -LOGIT_LIMIT)


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
        # Only to count the pieces takes a quarter of the time, and most often there is one.
        if cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[0] <= 2:
            continue
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        small = [label for label, area in enumerate(areas, start=1) if SMALLEST <= area <= SHARE * areas.max()]
        motion: FloatArray | None = None
        for label in small:
            rows, columns = _part(stats[label], mask.shape)
            piece = pieces[rows, columns] == label
            if _mean_score(own_score, piece, rows, columns) > ALIKE:
                continue
            taken = _grown(np.logical_or.reduce(masks, axis=0), 1) if taken is None else taken
            ground = _grown(piece, AROUND) & ~taken[rows, columns]
            if ground.sum() < SMALLEST:
                continue
            motion = np.median(flow[pieces == 1 + int(areas.argmax())], 0) if motion is None else motion
            around = np.median(flow[rows, columns][ground], 0)
            still = np.hypot(*(np.median(flow[rows, columns][piece], 0) - around)) < SAME
            if still and np.hypot(*(motion - around)) > OTHER:
                own_found[rows, columns] |= piece
    return found


def _part(stats: AnyArray, shape: Size) -> tuple[slice, slice]:
    """Give the rows and columns of a piece with the ground that is looked at."""
    left, top, width, height = (int(n) for n in stats[:4])
    return (
        slice(max(0, top - AROUND), min(shape[0], top + height + AROUND)),
        slice(max(0, left - AROUND), min(shape[1], left + width + AROUND)),
    )


def _mean_score(score: FloatArray, piece: AnyArray, rows: slice, columns: slice) -> float:
    """Give the mean of the score, which has half the size, over a piece of some rows and columns."""
    y, x = np.nonzero(piece)
    return float(score[(y + rows.start) // 2, (x + columns.start) // 2].mean())


def _grown(mask: AnyArray, cells: int) -> AnyArray:
    side = 2 * cells + 1
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)) > 0)

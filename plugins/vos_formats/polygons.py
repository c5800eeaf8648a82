"""Masks and polygons: outlines along the pixels' borders, and pixels whose centre lies in a polygon."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from vos.plugin import AnyArray, BoolArray, FloatArray
from vos_formats.run_lengths import checked_size

MOST_DISTANT = 1_000_000.0
"""Largest coordinate of a point, pixels; pycocotools ends the process on NaN and takes memory for longer outlines."""


def outlines(mask: BoolArray, simplify: float = 0.0) -> list[list[FloatArray]]:
    """Outline a mask along the borders of its pixels, so that the pixel (x, y) covers x to x+1 and y to y+1.

    Args:
        mask: bool (H, W).
        simplify: leave out points nearer than this to the outline, in pixels; 0 keeps it exact, and so does a ring
            that would have fewer than three points left.
    Returns:
        For each connected part (diagonal neighbours are connected), the outer ring and then its holes; a ring is
        float32 (N, 2), x first, N at least 3.
    """
    pixels = mask.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if not width:
        return []
    # On a grid of twice the size, an outline's pixels tell on which side of the object's pixel it runs.
    double = np.repeat(np.repeat(pixels[top : top + height, left : left + width], 2, axis=0), 2, axis=1)
    rings, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts: dict[int, list[FloatArray]] = {}
    for number, (ring, (_, _, _, parent)) in enumerate(zip(rings, hierarchy[0], strict=True)):
        corners = _without_straight_points((ring[:, 0].astype(np.int64) + 1) // 2 + [left, top])
        points = corners.astype(np.float32)
        if simplify > 0:
            fewer = np.asarray(cv2.approxPolyDP(points[:, None], simplify, closed=True)[:, 0], dtype=np.float32)
            points = fewer if len(fewer) >= 3 else points
        parts.setdefault(number if parent < 0 else int(parent), []).append(points)
    return [parts[number] for number in sorted(parts)]


def bridged(parts: Sequence[Sequence[FloatArray]]) -> FloatArray:
    """Join parts and holes to one polygon by bridges of no width, between the nearest points.

    Args:
        parts: as ``outlines`` returns them, at least one.
    Returns:
        float32 (N, 2): filled by the even-odd rule, it covers what the parts without their holes cover.
    """
    from scipy.spatial import cKDTree  # takes longer to import than all readers of formats together

    rings = [ring for part in parts for ring in part]
    whole = rings[0]
    for ring in rings[1:]:
        distances, nearest = cKDTree(whole).query(ring)
        start = int(np.argmin(distances))
        at = int(nearest[start])
        around = np.concatenate([ring[start:], ring[: start + 1]])
        whole = np.concatenate([whole[: at + 1], around, whole[at:]])
    return whole


def filled(polygons: Sequence[AnyArray], size: tuple[int, int]) -> BoolArray:
    """Fill polygons: a pixel belongs to one if its centre lies in it; several are united.

    Args:
        polygons: float (N, 2) each, x first, in pixels; those of fewer than 3 points cover nothing.
        size: (H, W) of the mask.
    Returns:
        bool (H, W).
    Raises:
        ValueError: a point is NaN, infinite, or further from the picture than ``MOST_DISTANT`` pixels; or no picture
            has that size.
    """
    size = checked_size(size)
    for polygon in polygons:
        if not (np.abs(np.asarray(polygon, dtype=np.float64)) <= MOST_DISTANT).all():
            raise ValueError("a polygon with a point that is no number, or far outside the picture")
    flat = [np.asarray(polygon, dtype=np.float64).reshape(-1).tolist() for polygon in polygons if len(polygon) >= 3]
    if not flat:
        return np.zeros(size, dtype=np.bool_)
    united = coco_mask.merge(coco_mask.frPyObjects(flat, *size))
    return np.asarray(coco_mask.decode(united), dtype=np.bool_)


def _without_straight_points(ring: np.ndarray) -> np.ndarray:
    """Keep the corners of a closed ring of steps along the grid."""
    ring = ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    reverses = (before * after).sum(axis=1) < 0
    return np.asarray(ring[turns | reverses])

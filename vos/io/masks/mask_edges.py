"""Signs that the pixels of a mask are no ids: smoothed edges, dithering.

Ids lie in areas with hard edges. Smoothing, anti-aliasing and lossy compression leave values between two areas along
their common edge; dithering mixes two values pixel by pixel.
"""

from __future__ import annotations

import numpy as np

from vos.types.arrays import AnyArray, BoolArray

MAX_RAMP_SHARE = 0.08  # of the places where a value changes; DAVIS masks have 0.002, smoothed ids 0.13 and more
MIN_BETWEEN_SHARE = 0.8  # of a value's pixels that lie between two others, for it to count as a value of edges
MAX_MIXED_PAIRS = 0.15  # of neighbouring object pixels that differ; objects of 8x12 pixels side by side have 0.1
MAX_ISOLATED_PIXELS = 0.3  # pixels without an equal neighbour, for each object pixel
MIN_MIXED_PIXELS = 64  # fewer object pixels are never taken for dithering


def ramp_share(grey: AnyArray) -> float:
    """Measure how many of the places where the grey value changes are ramps.

    A place is three pixels in a row or column whose outer two differ; it is a ramp if the middle one lies strictly
    between them.

    Args:
        grey: uint8 (H, W).
    Returns:
        A share from 0 (hard edges alone) to 1.
    """
    changes = ramps = 0
    for values in (grey, grey.T):
        first, middle, last = values[:-2], values[1:-1], values[2:]
        low, high = np.minimum(first, last), np.maximum(first, last)
        changes += int(np.count_nonzero(low != high))
        ramps += int(np.count_nonzero((low < middle) & (middle < high)))
    return ramps / changes if changes else 0.0


def edge_values(values: AnyArray, *, ordered: bool) -> list[int]:
    """List the values that occur only between others, and nowhere as an area.

    Args:
        values: uint8 (H, W), grey values or palette indices.
        ordered: grey values: between means between in brightness. Palette indices have no order: between means that
            two other values are among the eight neighbours.
    Returns:
        Values without a 3x3 area of their own, of whose pixels at least 80 % lie between others.
    """
    between, area = _between_and_area(values, ordered=ordered)
    counts = np.bincount(values.ravel(), minlength=256)
    has_area = np.bincount(values[area], minlength=256) > 0
    lies_between = np.bincount(values[between], minlength=256) >= MIN_BETWEEN_SHARE * np.maximum(counts, 1)
    return [int(value) for value in np.flatnonzero((counts > 0) & ~has_area & lies_between)]


def is_dithered(indices: AnyArray, background: int) -> bool:
    """Test whether the objects are mixed pixel by pixel.

    Args:
        indices: uint8 (H, W), palette indices.
        background: the index of the background.
    Returns:
        True if object pixels differ from their neighbours as often as only dithering does.
    """
    objects = indices != background
    count = int(np.count_nonzero(objects))
    if count < MIN_MIXED_PIXELS:
        return False
    pairs = mixed = 0
    isolated = np.ones(indices.shape, dtype=np.bool_)
    for axis in (0, 1):
        lower, upper = np.moveaxis(indices, axis, 0)[:-1], np.moveaxis(indices, axis, 0)[1:]
        both = np.moveaxis(objects, axis, 0)[:-1] & np.moveaxis(objects, axis, 0)[1:]
        equal = lower == upper
        pairs += int(np.count_nonzero(both))
        mixed += int(np.count_nonzero(both & ~equal))
        alone = np.moveaxis(isolated, axis, 0)
        alone[:-1] &= ~equal
        alone[1:] &= ~equal
    too_mixed = pairs > 0 and mixed / pairs > MAX_MIXED_PAIRS
    return too_mixed or int(np.count_nonzero(isolated)) / count > MAX_ISOLATED_PIXELS


def _between_and_area(values: AnyArray, *, ordered: bool) -> tuple[BoolArray, BoolArray]:
    """Mark pixels that lie between two other values, and pixels whose eight neighbours equal them."""
    padded = np.pad(values, 1, mode="edge").astype(np.int16)
    height, width = values.shape
    centre = values.astype(np.int16)
    low, high = np.full_like(centre, 999), np.full_like(centre, -1)
    for row in range(3):
        for column in range(3):
            neighbour = padded[row : row + height, column : column + width]
            other = neighbour != centre
            low = np.where(other, np.minimum(low, neighbour), low)
            high = np.where(other, np.maximum(high, neighbour), high)
    area = high < 0
    between = (low < centre) & (centre < high) if ordered else (low != high) & ~area
    return np.asarray(between), np.asarray(area)

"""F with MOSEv2's tolerance, which follows the object's area; and J as MOSEv2 computes it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from vos.evaluation.metrics import packed_masks as bits
from vos.evaluation.metrics.boundary_accuracy import f_measure
from vos.types.arrays import Size

AREA_TOLERANCE = 0.1
"""The adaptive tolerance, as a share of the square root of the truth's area."""


def score_pair_adaptive(truth: bits.Bits, mask: bits.Bits, size: Size, tolerance: float) -> tuple[float, float, float]:
    """Measure J, F and the adaptive F of two packed masks, by the rules of MOSEv2.

    Args:
        truth: packed (H, words).
        mask: packed, the same shape.
        size: (H, W) of the frame.
        tolerance: the usual one in pixels, not rounded; of MOSEv2 it is 0.008 of the diagonal.
    Returns:
        J as (intersection + 1) / (union + 1); F with the usual tolerance; F with a tolerance of 0.1 x sqrt(area of
        the truth), rounded up, where that is smaller.
    Source: henghuiding/MOSE-api, MOSEv2/sam2_rcms/tools/metricsv2.py:9-31, :161-206 and score.py:86 at b9afc7d.
        Where the adaptive tolerance is not smaller, both F use the usual one without rounding, and the
        structuring element of that radius is off centre; published scores have both, so they are kept.
    """
    cropped = bits.crop((truth, mask), size[1])
    if cropped is None:
        return 1.0, 1.0, 1.0
    both, last_bit = cropped
    shared, areas = bits.count(both[0] & both[1]), (bits.count(both[0]), bits.count(both[1]))
    j = (shared + 1) / (sum(areas) - shared + 1)
    outlines = bits.boundaries(both, last_bit)
    lengths = bits.count(outlines[0]), bits.count(outlines[1])
    if not lengths[0] or not lengths[1]:
        f = f_measure(0, lengths[1], 0, lengths[0])
        return j, f, f
    adaptive = math.ceil(AREA_TOLERANCE * math.sqrt(areas[0]))
    if adaptive >= tolerance:
        f = _f_with_tolerance(outlines, lengths, tolerance)
        return j, f, f
    return j, _f_with_tolerance(outlines, lengths, math.ceil(tolerance)), _f_with_tolerance(outlines, lengths, adaptive)


def _f_with_tolerance(outlines: bits.Bits, lengths: tuple[int, int], radius: float) -> float:
    """F from the outlines (2, H, words) of truth and mask, their pixel counts, and a tolerance in pixels."""
    # From a word on, which no published score comes near, the disk is in the centre.
    whole = radius == int(radius) or radius >= bits.WORD - 1
    near = bits.dilate(outlines, math.ceil(radius)) if whole else dilate_off_centre(outlines, radius)
    matched = outlines & near[::-1]
    return f_measure(bits.count(matched[1]), lengths[1], bits.count(matched[0]), lengths[0])


def dilate_off_centre(masks: bits.Bits, radius: float) -> bits.Bits:
    """Dilate packed masks as OpenCV does by scikit-image's disk of a radius that is no whole number.

    Args:
        masks: packed (..., H, words).
        radius: pixels, not a whole number, below 63.
    Returns:
        Packed masks of the same shape. Bits past the last pixel of a row may be set.
    """
    height = masks.shape[-2]
    # A word more on either side keeps the bits that leave the frame before they come back.
    masks = np.pad(masks, [(0, 0)] * (masks.ndim - 1) + [(1, 1)])
    dilated = np.zeros_like(masks)
    run, length = masks, 1
    # Rows of the disk by length: each run of set bits grows out of the one before.
    for (first, last), rows in _disk_rows(radius).items():
        while length < last - first + 1:
            step = min(length, last - first + 1 - length)
            run, length = run | _shift_left(run, step), length + step
        row = _shift_left(run, first)
        for down in rows:
            if 0 <= down < height:
                dilated[..., : height - down, :] |= row[..., down:, :]
            elif -height < down < 0:
                dilated[..., -down:, :] |= row[..., : height + down, :]
    return dilated[..., 1:-1]


@lru_cache(maxsize=8)
def _disk_rows(radius: float) -> dict[tuple[int, int], list[int]]:
    """Rows of the disk, as counted from the anchor down, by their first and last column beside it; short ones first."""
    steps = np.arange(-radius, radius + 1)
    anchor = len(steps) // 2
    inside = steps[:, None] ** 2 + steps[None, :] ** 2 <= radius**2
    rows = ((row - anchor, np.flatnonzero(line) - anchor) for row, line in enumerate(inside))
    spans: dict[tuple[int, int], list[int]] = {}
    for row, columns in rows:
        if len(columns):
            spans.setdefault((int(columns[0]), int(columns[-1])), []).append(row)
    if not spans:  # below a radius of 0.586; OpenCV takes the first element of a kernel without elements
        spans[-anchor, -anchor] = [-anchor]
    return dict(sorted(spans.items(), key=lambda item: item[0][1] - item[0][0]))


def _shift_left(masks: bits.Bits, distance: int) -> bits.Bits:
    """Shift packed masks left by up to 63 pixels, or right where the distance is negative; as one line of bits."""
    if not distance:
        return masks
    line = masks.reshape(-1)
    near, far = np.uint64(abs(distance)), np.uint64(bits.WORD - abs(distance))
    if distance > 0:
        moved: bits.Bits = line >> near
        moved[:-1] |= line[1:] << far
    else:
        moved = line << near
        moved[1:] |= line[:-1] >> far
    return moved.reshape(masks.shape)

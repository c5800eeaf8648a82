"""F, the boundary accuracy: how much of each outline lies near the other."""

from __future__ import annotations

import math

from vos.errors import InputError
from vos.evaluation.metrics import packed_masks as bits
from vos.evaluation.metrics.region_similarity import check_sizes, packed_without_void
from vos.types.arrays import AnyArray, BoolArray, Size

TOLERANCE = 0.008
"""The DAVIS tolerance, as a share of the frame's diagonal."""


def boundary_accuracy(
    truth: AnyArray, mask: AnyArray, void: AnyArray | None = None, tolerance: float = TOLERANCE
) -> float:
    """Measure F, the F-measure of two masks' boundaries.

    A boundary pixel counts as matched if the other boundary passes within the tolerance, in a
    Euclidean disk (Perazzi et al. solve this as bipartite matching; the official tool, and so every
    published number, approximates it by dilation).

    Args:
        truth: bool (H, W), or uint8 where every nonzero pixel is the object.
        mask: the same shape; the prediction.
        void: bool (H, W), pixels cut out of both masks before their boundaries are taken.
        tolerance: as for ``tolerance_in_pixels``.
    Returns:
        F in [0, 1]; 1 if neither mask has a boundary, 0 if one has none. A mask that fills the frame
        has none: the frame's edge is not a boundary.
    Raises:
        InputError: the sizes differ, or the tolerance makes no sense.
    Source: davis2017-evaluation, davis2017/metrics.py:61-117 at ac7c43f.
    """
    check_sizes(truth, mask, void)
    radius = tolerance_in_pixels(tolerance, truth.shape)
    last_bit = (truth.shape[1] - 1) % bits.WORD
    truth_boundary = bits.boundaries(packed_without_void(truth, void), last_bit)
    mask_boundary = bits.boundaries(packed_without_void(mask, void), last_bit)
    return f_measure(
        bits.count(mask_boundary & bits.dilate(truth_boundary, radius)),
        bits.count(mask_boundary),
        bits.count(truth_boundary & bits.dilate(mask_boundary, radius)),
        bits.count(truth_boundary),
    )


def boundary_of(mask: AnyArray) -> BoolArray:
    """Mark a mask's boundary pixels, one pixel wide and half a pixel towards the origin.

    Args:
        mask: bool (H, W), or uint8 where every nonzero pixel is the object.
    Returns:
        bool (H, W).
    """
    packed = bits.boundaries(bits.pack(mask), (mask.shape[1] - 1) % bits.WORD)
    return bits.unpack(packed, mask.shape[1])


def f_measure(mask_matched: int, mask_length: int, truth_matched: int, truth_length: int) -> float:
    """Join precision and recall of a boundary.

    Args:
        mask_matched: boundary pixels of the prediction that are near the truth's boundary.
        mask_length: all boundary pixels of the prediction.
        truth_matched: boundary pixels of the truth that are near the prediction's boundary.
        truth_length: all boundary pixels of the truth.
    Returns:
        Their harmonic mean in [0, 1]; 1 if both boundaries are empty, 0 if one is.
    """
    if not mask_length or not truth_length:
        return float(mask_length == truth_length)
    precision, recall = mask_matched / mask_length, truth_matched / truth_length
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def tolerance_in_pixels(tolerance: float, size: Size | tuple[int, ...]) -> int:
    """Turn a tolerance into a radius.

    Args:
        tolerance: a share of the frame's diagonal if below 1 (the radius is rounded up), else whole pixels.
        size: (H, W) of the frame.
    Returns:
        Pixels, 0 or more.
    Raises:
        InputError: as ``exact_tolerance``.
    """
    return math.ceil(exact_tolerance(tolerance, size))


def exact_tolerance(tolerance: float, size: Size | tuple[int, ...]) -> float:
    """Turn a tolerance into pixels, without rounding.

    Args:
        tolerance: as for ``tolerance_in_pixels``.
        size: (H, W) of the frame.
    Returns:
        Pixels, 0 or more.
    Raises:
        InputError: negative, not finite, or 1 and more but not a whole number.
    """
    if not math.isfinite(tolerance) or tolerance < 0 or (tolerance >= 1 and tolerance != int(tolerance)):
        raise InputError(
            f"boundary tolerance is {tolerance}, expected a share of the diagonal below 1 (DAVIS: {TOLERANCE}) "
            "or whole pixels"
        )
    return tolerance if tolerance >= 1 else tolerance * math.sqrt(size[0] ** 2 + size[1] ** 2)

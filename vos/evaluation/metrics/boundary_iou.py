"""Boundary IoU: intersection over union of the parts of two masks that are near their outlines."""

from __future__ import annotations

import math

import numpy as np

from vos.evaluation.metrics import packed_masks as bits
from vos.evaluation.metrics.region_similarity import check_sizes
from vos.types.arrays import AnyArray, BoolArray, Size

BOUNDARY_SHARE = 0.02
"""Width of the boundary region, as a share of the frame's diagonal."""


def boundary_iou(truth: AnyArray, mask: AnyArray, share: float = BOUNDARY_SHARE) -> float:
    """Measure the boundary IoU of two masks.

    Args:
        truth: bool (H, W), or uint8 where every nonzero pixel is the object.
        mask: the same shape; the prediction.
        share: width of the boundary region as a share of the diagonal; at least one pixel.
    Returns:
        Intersection over union of the boundary regions in [0, 1]; 1 if both masks are empty.
    Raises:
        InputError: the sizes differ.
    Source: Cheng et al., CVPR 2021, arXiv:2103.16562; ``mask_to_boundary`` and ``boundary_iou`` of
        bowenc0221/boundary-iou-api.
    """
    check_sizes(truth, mask)
    radius = boundary_width((truth.shape[0], truth.shape[1]), share)
    shared, joined = boundary_areas(bits.pack(truth), bits.pack(mask), radius)
    return shared / joined if joined else 1.0


def boundary_region(mask: AnyArray, share: float = BOUNDARY_SHARE) -> BoolArray:
    """Mark the part of a mask that is near its outline; the frame's edge is an outline too.

    Args:
        mask: bool (H, W), or uint8 where every nonzero pixel is the object.
        share: width of the region as a share of the diagonal; at least one pixel.
    Returns:
        bool (H, W): what an erosion by a square of so many pixels takes away.
    """
    height, width = mask.shape
    return bits.unpack(inner_boundary(bits.pack(mask), boundary_width((height, width), share)), width)


def boundary_width(size: Size, share: float = BOUNDARY_SHARE) -> int:
    """Turn a share of the diagonal into the width of the boundary region.

    Args:
        size: (H, W) of the frame.
        share: of the diagonal.
    Returns:
        Pixels, 1 or more.
    """
    return max(1, round(share * math.sqrt(size[0] ** 2 + size[1] ** 2)))


def boundary_areas(truth: bits.Bits, mask: bits.Bits, radius: int) -> tuple[int, int]:
    """Count the pixels that two packed masks' boundary regions share, and those of either.

    Args:
        truth: packed (H, words).
        mask: packed, the same shape.
        radius: width of the boundary region, pixels.
    Returns:
        Pixels of the intersection and of the union.
    """
    box = bits.bounding_slices(truth | mask)
    if box is None:
        return 0, 0
    ours, theirs = inner_boundary(np.stack((truth[box], mask[box])), radius)
    return bits.count(ours & theirs), bits.count(ours | theirs)


def inner_boundary(masks: bits.Bits, radius: int) -> bits.Bits:
    """Find the pixels of packed masks from which at most ``radius`` steps, diagonal ones too, lead outside them.

    Args:
        masks: packed (..., H, words).
        radius: pixels, 1 or more.
    Returns:
        Packed, the same shape. What lies beyond the frame is outside.
    """
    words = -(-radius // bits.WORD)
    around = [(0, 0)] * (masks.ndim - 2) + [(radius, radius), (words, words)]
    outside = np.pad(~masks, around, constant_values=~np.uint64(0))
    reach = 0
    while reach < radius:
        step = min(radius - reach, 2 * reach + 1, bits.WORD - 1)
        outside, reach = bits.spread(outside, step), reach + step
    reach = 0
    while reach < radius:
        step = min(radius - reach, 2 * reach + 1)
        joined = outside.copy()
        joined[..., step:, :] |= outside[..., :-step, :]
        joined[..., :-step, :] |= outside[..., step:, :]
        outside, reach = joined, reach + step
    region: bits.Bits = masks & outside[..., radius:-radius, words:-words]
    return region

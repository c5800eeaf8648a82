"""J, the region similarity: intersection over union of a mask and the truth."""

from __future__ import annotations

from vos.errors import InputError
from vos.evaluation.metrics import packed_masks as bits
from vos.types.arrays import AnyArray


def region_similarity(truth: AnyArray, mask: AnyArray, void: AnyArray | None = None) -> float:
    """Measure J, the Jaccard index of two masks.

    Args:
        truth: bool (H, W), or uint8 where every nonzero pixel is the object.
        mask: the same shape; the prediction.
        void: bool (H, W), pixels that do not count; None for none.
    Returns:
        Intersection over union in [0, 1]; 1 if both are empty.
    Raises:
        InputError: the sizes differ.
    Source: Perazzi et al., CVPR 2016, section 4.1; davis2017-evaluation, davis2017/metrics.py:6-37 at ac7c43f.
    """
    check_sizes(truth, mask, void)
    truth_bits, mask_bits = packed_without_void(truth, void), packed_without_void(mask, void)
    return jaccard(
        bits.count(truth_bits & mask_bits),
        bits.count(truth_bits),
        bits.count(mask_bits),
    )


def jaccard(shared: int, truth_area: int, mask_area: int) -> float:
    """Intersection over union from three areas; 1 where there is nothing to find and nothing found.

    Args:
        shared: pixels in both.
        truth_area: pixels of the truth.
        mask_area: pixels of the prediction.
    Returns:
        A ratio in [0, 1].
    """
    union = truth_area + mask_area - shared
    return shared / union if union else 1.0


def packed_without_void(mask: AnyArray, void: AnyArray | None) -> bits.Bits:
    """Pack a mask, void pixels cut out."""
    packed = bits.pack(mask)
    return packed if void is None else packed & ~bits.pack(void)


def check_sizes(truth: AnyArray, mask: AnyArray, void: AnyArray | None = None) -> None:
    """Refuse masks that are not (H, W) of one size."""
    for name, array in (("mask", mask), ("void", void)):
        if array is not None and (array.ndim != 2 or array.shape != truth.shape):
            raise InputError(f"{name} is {array.shape}, truth is {truth.shape}; expected (H, W) of one size")

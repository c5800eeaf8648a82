"""J and F of all objects in one frame; each mask is packed, outlined and dilated once, in its own box."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vos.evaluation.metrics import packed_masks as bits
from vos.evaluation.metrics.adaptive_boundary import score_pair_adaptive
from vos.evaluation.metrics.boundary_accuracy import f_measure
from vos.evaluation.metrics.boundary_iou import boundary_areas, boundary_width
from vos.evaluation.metrics.region_similarity import jaccard
from vos.types.arrays import BoolArray, LabelMap
from vos.types.label_map import FEW_IDS

Measures = Literal["j-f", "j", "j-f-adaptive"]


@dataclass(frozen=True)
class FrameScores:
    """J and F in one frame.

    Attributes:
        truth_ids: ids that the truth holds here, ascending.
        prediction_ids: ids that the prediction holds here, ascending.
        object_ids: the objects that were scored: rows of ``j`` and ``f``, after the proposals if any.
        j: float64 (K,), or (P + 1, K + 1) of proposals against objects, the last ones of each empty.
        f: the same for F; NaN where the protocol measures J alone.
        f_adaptive: float64 (K,), F with MOSEv2's tolerance; None where it is not measured.
        boundary: int64 (K, 2), pixels that the boundary regions share, and those of either; None where the boundary IoU
            is not measured.
        black_and_white: the prediction was of 0 and 255, taken for the sequence's one object.
    """

    truth_ids: tuple[int, ...]
    prediction_ids: tuple[int, ...]
    object_ids: tuple[int, ...]
    j: npt.NDArray[np.float64]
    f: npt.NDArray[np.float64]
    f_adaptive: npt.NDArray[np.float64] | None = None
    boundary: npt.NDArray[np.int64] | None = None
    black_and_white: bool = False


def score_frame(
    truth: LabelMap,
    prediction: LabelMap,
    object_ids: Collection[int] | None,
    tolerance: float,
    measures: Measures = "j-f",
    *,
    boundary_iou: bool = False,
) -> FrameScores:
    """Measure J and F of objects whose ids are the same in truth and prediction.

    Args:
        truth: uint8 (H, W), without void.
        prediction: uint8 (H, W).
        object_ids: ids that are scored besides those of the truth; None for all that are predicted.
        tolerance: of the boundary in pixels; F rounds it up.
        measures: what to measure, as in ``Protocol``.
        boundary_iou: measure the boundary IoU too.
    Returns:
        Scores of the ids that truth or prediction hold; an object in neither has J = F = 1.
    """
    truths, predictions = split(truth), split(prediction)
    wanted = {*truths, *(predictions if object_ids is None else object_ids)}
    scored = tuple(sorted({*truths, *predictions} & wanted))
    height, width = truth.shape
    nothing = np.zeros((height, -(-width // bits.WORD)), dtype=np.uint64)
    pairs = [(truths.get(i, nothing), predictions.get(i, nothing)) for i in scored]
    if measures == "j-f-adaptive":
        rows = [score_pair_adaptive(known, found, (height, width), tolerance) for known, found in pairs]
    elif measures == "j":
        rows = [(score_region(known, found), math.nan, math.nan) for known, found in pairs]
    else:
        rows = [(*score_pair(known, found, width, math.ceil(tolerance)), math.nan) for known, found in pairs]
    j, f, f_adaptive = np.array(rows, dtype=np.float64).reshape(len(scored), 3).T
    boundary = None
    if boundary_iou:
        reach = boundary_width((height, width))
        areas = [boundary_areas(known, found, reach) for known, found in pairs]
        boundary = np.array(areas, dtype=np.int64).reshape(len(scored), 2)
    return FrameScores(
        tuple(truths),
        tuple(predictions),
        scored,
        j,
        f,
        f_adaptive if measures == "j-f-adaptive" else None,
        boundary,
    )


def score_region(truth: bits.Bits, mask: bits.Bits) -> float:
    """Measure J of two packed masks."""
    return jaccard(bits.count(truth & mask), bits.count(truth), bits.count(mask))


def score_proposals(truth: LabelMap, prediction: LabelMap, radius: int, void: BoolArray | None = None) -> FrameScores:
    """Measure J and F of every proposal against every object.

    Args:
        truth: uint8 (H, W), without void.
        prediction: uint8 (H, W); its ids need not be those of the truth.
        radius: boundary tolerance in pixels.
        void: bool (H, W), pixels that do not count; a proposal of these alone is empty.
    Returns:
        Tables (P + 1, K + 1) in the order of ``prediction_ids`` and ``truth_ids``; the last row is an
        empty proposal, the last column an absent object.
    """
    truths, predictions = split(truth), split(prediction)
    if void is not None and void.any():
        counted = ~bits.pack(void)
        predictions = {i: mask & counted for i, mask in predictions.items()}
    j, f = np.zeros((2, len(predictions) + 1, len(truths) + 1))
    j[:, -1] = f[:, -1] = [*(not mask.any() for mask in predictions.values()), True]
    cropped = bits.crop([*truths.values(), *predictions.values()], truth.shape[1])
    if cropped is not None:
        masks, last_bit = cropped
        outlines = bits.boundaries(masks, last_bit)
        near = bits.dilate(outlines, radius)
        areas, lengths = [*map(bits.count, masks)], [*map(bits.count, outlines)]
        for row, found in enumerate(range(len(truths), len(masks))):
            for known in range(len(truths)):
                j[row, known] = jaccard(bits.count(masks[known] & masks[found]), areas[known], areas[found])
                f[row, known] = f_measure(
                    bits.count(outlines[found] & near[known]),
                    lengths[found],
                    bits.count(outlines[known] & near[found]),
                    lengths[known],
                )
        # An empty mask equals the boundary of a mask that fills the frame: neither has one.
        without_outline = np.array(lengths) == 0
        f[-1, :-1], f[:-1, -1] = without_outline[: len(truths)], without_outline[len(truths) :]
    return FrameScores(tuple(truths), tuple(predictions), tuple(truths), j, f)


def score_pair(truth: bits.Bits, mask: bits.Bits, width: int, radius: int) -> tuple[float, float]:
    """Measure J and F of two packed masks, inside the box that holds both.

    Args:
        truth: packed (H, words).
        mask: packed, the same shape.
        width: pixels in a row.
        radius: boundary tolerance in pixels.
    Returns:
        J and F.
    """
    cropped = bits.crop((truth, mask), width)
    if cropped is None:
        return 1.0, 1.0
    both, last_bit = cropped
    truth_area, mask_area = bits.count(both[0]), bits.count(both[1])
    j = jaccard(bits.count(both[0] & both[1]), truth_area, mask_area)
    if j == 1.0:
        return 1.0, 1.0
    outlines = bits.boundaries(both, last_bit)
    truth_length, mask_length = bits.count(outlines[0]), bits.count(outlines[1])
    if not truth_length or not mask_length:
        return j, f_measure(0, mask_length, 0, truth_length)
    matched = outlines & bits.dilate(outlines, radius)[::-1]
    return j, f_measure(bits.count(matched[1]), mask_length, bits.count(matched[0]), truth_length)


def split(label_map: LabelMap) -> dict[int, bits.Bits]:
    """Split a label map into packed masks.

    Args:
        label_map: uint8 (H, W).
    Returns:
        Packed masks of the ids that it holds, by id, ascending; 0 is left out.
    """
    highest = int(label_map.max(initial=0))
    if highest <= 1:
        return {1: bits.pack(label_map)} if highest else {}
    if highest > FEW_IDS:
        held = np.flatnonzero(np.bincount(label_map.ravel()))
        return {int(i): bits.pack(label_map == i) for i in held if i}
    masks = {i: label_map == i for i in range(1, highest + 1)}
    return {i: bits.pack(mask) for i, mask in masks.items() if mask.any()}

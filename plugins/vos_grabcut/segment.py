"""One object's mask from its marks: geodesic distances for a first guess, GrabCut for its colours and edges.

GrabCut is Rother et al., SIGGRAPH 2004, as OpenCV has it. It runs on the surroundings of the marks at a reduced size;
the result is brought to full size along the image's edges with a guided filter (He et al., ECCV 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vos.plugin import AnyArray, BoolArray, Image
from vos_grabcut.geodesic import geodesic_distance
from vos_grabcut.guided_filter import guided_filter
from vos_grabcut.prompts import ObjectPrompts

Region = tuple[slice, slice]


@dataclass(frozen=True)
class SegmentConfig:
    """Settings of GrabCut and of its initial guess.

    Attributes:
        side: longer side to which the image is resized for GrabCut, pixels; a smaller crop is enlarged, since
            GrabCut's smoothness term erases objects of a few pixels.
        guess_side: longer side to which it is resized for the geodesic distances, pixels.
        iterations: number of GrabCut iterations.
        box_margin: margin of the crop around a box, as a share of the box's size.
        mark_radius: half the width of a mark, as a share of the frame's shorter side.
        object_share: a pixel is initially the object's if its distance from the object's marks is below this share of
            the sum of both distances.
        smoothing_radius: radius of the guided filter, as a share of the frame's shorter side.
    """

    side: int = 320
    guess_side: int = 160
    iterations: int = 3
    box_margin: float = 0.35
    mark_radius: float = 0.008
    object_share: float = 0.4
    smoothing_radius: float = 0.006


def segment_object(
    image: Image, prompts: ObjectPrompts, others: BoolArray | None = None, config: SegmentConfig | None = None
) -> BoolArray:
    """Cut an object out.

    Args:
        image: uint8 (H, W, 3), RGB.
        prompts: the object's marks.
        others: bool (H, W), pixels that belong to other objects for sure, or None.
        config: how.
    Returns:
        bool (H, W); every mark on the object is in it, and no mark beside it.
    """
    config = config or SegmentConfig()
    region = _region(image.shape[:2], prompts.box_xyxy, config.box_margin)
    marks = _draw_marks(image.shape[:2], prompts, config)
    if others is not None:
        marks[others & (marks != cv2.GC_FGD)] = cv2.GC_BGD
    small, small_marks = _resized(image[region], marks[region], config.side)
    guess = _guess(small, small_marks, prompts, config)
    cut = _cut(small, guess, config.iterations)
    cut = _connected(cut, small_marks == cv2.GC_FGD)
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[region] = _enlarge(cut, image[region], config)
    mask[marks == cv2.GC_FGD] = True
    mask[marks == cv2.GC_BGD] = False
    return mask


def refine_mask(image: Image, rough: BoolArray, config: SegmentConfig | None = None) -> BoolArray:
    """Fit a roughly drawn mask to the image's edges.

    Args:
        image: uint8 (H, W, 3), RGB.
        rough: bool (H, W), at least one pixel.
        config: how.
    Returns:
        bool (H, W): only a band along the rough mask's edge differs from it, a tenth of its size wide.
    """
    config = config or SegmentConfig()
    rows, columns = np.flatnonzero(rough.any(axis=1)), np.flatnonzero(rough.any(axis=0))
    box = np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)
    region = _region(image.shape[:2], box, config.box_margin)
    # The band is as wide as the square root of the area says, so that thin objects keep their core.
    band = max(2, round(0.1 * float(np.sqrt(rough.sum()))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    padded = rough.astype(np.uint8)
    core = cv2.erode(padded, kernel)
    if not core.any():
        distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
        core = (distance >= 0.7 * distance.max()).astype(np.uint8)
    reach = cv2.dilate(padded, kernel)
    marks = np.where(padded > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    marks[core > 0] = cv2.GC_FGD
    marks[reach == 0] = cv2.GC_BGD
    small, small_marks = _resized(image[region], marks[region], config.side)
    cut = _cut(small, small_marks, config.iterations)
    mask = np.zeros(rough.shape, dtype=bool)
    mask[region] = _enlarge(cut, image[region], config)
    return (mask | (core > 0)) & (reach > 0)


def _region(size: tuple[int, ...], box: AnyArray | None, margin: float) -> Region:
    height, width = size
    if box is None:
        return np.s_[0:height, 0:width]
    pad = np.maximum(margin * (box[2:] - box[:2]), 12)
    x0, y0 = np.maximum(np.floor(box[:2] - pad), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(box[2:] + pad) + 1, [width, height]).astype(int)
    return np.s_[int(y0) : int(y1), int(x0) : int(x1)]


def _draw_marks(size: tuple[int, ...], prompts: ObjectPrompts, config: SegmentConfig) -> AnyArray:
    """GrabCut's labels at full size: marks are certain, the outside of a box too, all else is open."""
    height, width = size
    marks = np.full((height, width), cv2.GC_PR_BGD, dtype=np.uint8)
    if prompts.box_xyxy is not None:
        x0, y0, x1, y1 = np.round(prompts.box_xyxy).astype(int)
        marks[:] = cv2.GC_BGD
        marks[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = cv2.GC_PR_FGD
    radius = max(1, round(config.mark_radius * min(height, width)))
    for stroke in sorted(prompts.strokes, key=lambda stroke: stroke.on_object):
        label = cv2.GC_FGD if stroke.on_object else cv2.GC_BGD
        marks[stroke.drawn((height, width), radius)] = label
    return marks


def _resized(image: Image, marks: AnyArray, side: int) -> tuple[Image, AnyArray]:
    height, width = marks.shape
    factor = side / max(height, width)
    size_wh = (max(2, round(width * factor)), max(2, round(height * factor)))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(image, size_wh, interpolation=way), dtype=np.uint8)
    small_marks = cv2.resize(marks, size_wh, interpolation=cv2.INTER_NEAREST)
    rows, columns = np.nonzero(marks == cv2.GC_FGD)  # a thin mark must not fall between the pixels that are kept
    small_marks[
        np.minimum((rows * size_wh[1]) // height, size_wh[1] - 1),
        np.minimum((columns * size_wh[0]) // width, size_wh[0] - 1),
    ] = cv2.GC_FGD
    return small, np.asarray(small_marks)


def _guess(image: Image, marks: AnyArray, prompts: ObjectPrompts, config: SegmentConfig) -> AnyArray:
    """Fill in what the marks leave open, by which marks are nearer along the image."""
    on_object = marks == cv2.GC_FGD
    if not on_object.any():
        return marks
    tiny, tiny_marks = _resized(image, marks, config.guess_side)
    beside = tiny_marks == cv2.GC_BGD
    if prompts.box_xyxy is None:
        beside[[0, -1], :] = True
        beside[:, [0, -1]] = True
    seeds = tiny_marks == cv2.GC_FGD
    beside &= ~seeds
    to_object = geodesic_distance(tiny, seeds)
    to_background = geodesic_distance(tiny, beside) if beside.any() else np.full(seeds.shape, np.inf, np.float32)
    share = to_object / np.maximum(to_object + to_background, 1e-6)
    share = cv2.resize(share, (marks.shape[1], marks.shape[0]), interpolation=cv2.INTER_LINEAR)
    limit = config.object_share if prompts.box_xyxy is None else 0.5
    guess: AnyArray = marks.copy()
    is_open = (marks == cv2.GC_PR_BGD) | (marks == cv2.GC_PR_FGD)
    guess[is_open & (share < limit)] = cv2.GC_PR_FGD
    guess[is_open & (share >= limit)] = cv2.GC_PR_BGD
    return guess


def _cut(image: Image, labels: AnyArray, iterations: int) -> BoolArray:
    """Run GrabCut where there are both object and background pixels; else the labels stand."""
    labels = labels.copy()
    on_object = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if on_object.any() and not on_object.all():
        cv2.setRNGSeed(0)
        bgr = np.ascontiguousarray(image[..., ::-1])
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(bgr, labels, (0, 0, 1, 1), *models, iterations, cv2.GC_INIT_WITH_MASK)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def _connected(mask: BoolArray, marks: BoolArray) -> BoolArray:
    """Keep the components under a mark; without marks, those of at least a tenth of the largest one's area."""
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    if marks.any():
        wanted = np.unique(pieces[marks & mask])
    else:
        areas = stats[1:, cv2.CC_STAT_AREA]
        wanted = 1 + np.flatnonzero(areas >= 0.1 * areas.max())
    return np.asarray(np.isin(pieces, wanted[wanted > 0]))


def _enlarge(mask: BoolArray, image: Image, config: SegmentConfig) -> BoolArray:
    """Resize a mask to the image's size by a guided filter, so that its edge follows the image's."""
    height, width = image.shape[:2]
    if mask.shape == (height, width):
        return mask
    soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    radius = max(2, round(config.smoothing_radius * min(height, width)))
    return np.asarray(guided_filter(image, np.asarray(soft), radius) > 0.5)

"""The initializers ``clicks``, ``grabcut`` and ``polygon``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from vos.plugin import (
    AnyArray,
    BoolArray,
    EmptyMaskError,
    Frame,
    Image,
    LabelMap,
    OptionError,
    object_ids,
    read_label_map,
)
from vos_grabcut.options import ClickOptions, GrabCutOptions, PolygonOptions
from vos_grabcut.prompts import ObjectPrompts, check_inside, parse_polygons, parse_prompts
from vos_grabcut.rough_mask import read_rough_mask
from vos_grabcut.segment import refine_mask, segment_object

MIN_FILLED_SHARE = 0.15
"""A mask whose own bounding box has a lower IoU with the box that was given is doubted; one of twice the object's width
and height has 0.25."""


class ClickInitializer:
    """Objects from points, boxes and scribbles by the click decoder."""

    def __init__(self, options: ClickOptions) -> None:
        """Read the prompts.

        Raises:
            OptionError: none given, or some that do not read so.
        """
        from vos_grabcut.clicks.segment import click_segmenter

        self._mask = options.mask
        corrects = options.mask is not None
        self._prompts = parse_prompts(options.boxes, options.points, options.scribbles, corrects)
        if not self._prompts:
            raise OptionError('clicks needs marks: -O "points=1:320,240,+", or boxes or scribbles.')
        self._segmenter = click_segmenter()

    def initialize(self, frame: Frame) -> LabelMap:
        """Find the objects, or correct those of the mask; see ``vos.plugin.Initializer``."""
        present = None if self._mask is None else read_label_map(self._mask, frame.size)
        given: dict[int, BoolArray] = {} if present is None else {i: present == i for i in object_ids(present)}
        masks = dict(given)
        for object_id, prompts in self._prompts.items():
            prompts = _checked(prompts, frame, object_id)
            if object_id in masks and prompts.box_xyxy is not None:
                raise OptionError(f"object {object_id} is in {self._mask} already; correct it by marks, not by a box.")
            if object_id not in masks and prompts.box_xyxy is None and not prompts.marked:
                raise OptionError(f"object {object_id} is not in {self._mask}; give a box, or at least one mark on it.")
            others = marks_of_others(self._prompts, object_id, frame)
            masks[object_id] = self._segment(frame.image, prompts, others, masks.get(object_id))
            for other in set(given) - {object_id}:
                if _marked_inside(prompts, given[other], frame):
                    masks[other] = masks[other] & ~masks[object_id]
                    if other not in self._prompts and not masks[other].any():
                        raise _covered(other, frame)
                elif other not in self._prompts:
                    masks[object_id] = masks[object_id] & ~given[other]
        return merge_masks(masks, frame)

    def _segment(
        self, image: Image, prompts: ObjectPrompts, others: BoolArray | None, present: BoolArray | None
    ) -> BoolArray:
        """Ask the decoder, and GrabCut where the decoder hardly finds anything in a box."""
        mask = self._segmenter.segment(image, prompts, others, present)
        box = prompts.box_xyxy
        if box is None or _filled_share(mask, box) >= MIN_FILLED_SHARE:
            return mask
        by_colour = segment_object(image, prompts, others)
        return max(mask, by_colour, key=lambda found: _filled_share(found, box))


class GrabCutInitializer:
    """Objects from boxes, points and scribbles, or a rough mask fitted to the image."""

    def __init__(self, options: GrabCutOptions) -> None:
        """Read the prompts.

        Raises:
            OptionError: none given, or some that do not read so.
        """
        self._options = options
        self._prompts = parse_prompts(options.boxes, options.points, options.scribbles)
        if options.mask is not None and self._prompts:
            raise OptionError("grabcut: a rough mask and other prompts are both given; one of them makes the mask.")
        if options.mask is None and not self._prompts:
            raise OptionError('grabcut needs marks: -O "boxes=1:30,40,200,180", or points, scribbles or a rough mask.')

    def initialize(self, frame: Frame) -> LabelMap:
        """Cut the objects out; see ``vos.plugin.Initializer``."""
        masks: dict[int, BoolArray] = {}
        if self._options.mask is not None:
            rough = read_rough_mask(self._options.mask, frame.size)
            if not self._options.refine:
                return rough
            masks = {i: refine_mask(frame.image, rough == i) for i in object_ids(rough)}
        for object_id, prompts in self._prompts.items():
            prompts = _checked(prompts, frame, object_id)
            masks[object_id] = segment_object(frame.image, prompts, marks_of_others(self._prompts, object_id, frame))
        return merge_masks(masks, frame)


class PolygonInitializer:
    """Objects inside polygons."""

    def __init__(self, options: PolygonOptions) -> None:
        """Read the polygons.

        Raises:
            OptionError: none given, or some that do not read so.
        """
        self._polygons = parse_polygons(options.polygons)
        if not self._polygons:
            raise OptionError('polygon needs polygons: -O "polygons=1:10,10 200,10 200,150".')

    def initialize(self, frame: Frame) -> LabelMap:
        """Fill the polygons; see ``vos.plugin.Initializer``."""
        masks: dict[int, BoolArray] = {}
        for object_id, polygons in self._polygons.items():
            filled = np.zeros(frame.size, dtype=np.uint8)
            for polygon in polygons:
                check_inside(polygon, frame.size, object_id, "corner")
                cv2.fillPoly(filled, [np.round(polygon).astype(np.int32)], 1)
            masks[object_id] = filled > 0
        return merge_masks(masks, frame)


def marks_of_others(prompts: Mapping[int, ObjectPrompts], object_id: int, frame: Frame) -> BoolArray | None:
    """Pixels under the marks of other objects, bool (H, W), which this object cannot own; None without such marks."""
    strokes = [
        stroke
        for other, others in prompts.items()
        if other != object_id
        for stroke in others.strokes
        if stroke.on_object
    ]
    if not strokes:
        return None
    radius = max(1, round(0.004 * min(frame.size)))
    return np.asarray(np.any([stroke.drawn(frame.size, radius) for stroke in strokes], axis=0))


def merge_masks(masks: dict[int, BoolArray], frame: Frame) -> LabelMap:
    """Make one label map of masks; where two meet, the smaller object is in front.

    Raises:
        EmptyMaskError: an object has no pixel, or others cover all of it.
    """
    label_map = np.zeros(frame.size, dtype=np.uint8)
    for object_id, mask in sorted(masks.items(), key=lambda item: -int(item[1].sum())):
        label_map[mask] = object_id
    missing = sorted(set(masks) - set(object_ids(label_map)))
    if missing and masks[missing[0]].any():
        raise _covered(missing[0], frame)
    if missing:
        raise EmptyMaskError(
            f"frame {frame.name}: nothing was found for object {missing[0]}. Mark more of it (beside a box, a scribble "
            "on the object), or draw a polygon."
        )
    return label_map


def _covered(object_id: int, frame: Frame) -> EmptyMaskError:
    return EmptyMaskError(
        f"frame {frame.name}: other objects cover all of object {object_id}. Mark less for them, or leave one out."
    )


def _marked_inside(prompts: ObjectPrompts, mask: BoolArray, frame: Frame) -> bool:
    """Test whether a mark on the object lies in another object's mask, bool (H, W)."""
    return any(stroke.on_object and (stroke.drawn(frame.size, 0) & mask).any() for stroke in prompts.strokes)


def _filled_share(mask: BoolArray, box: AnyArray) -> float:
    """IoU of a mask's bounding box with a box (4,), x0, y0, x1, y1 of its corner pixels; 0 without a mask."""
    if not mask.any():
        return 0.0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    own = np.array([columns[0], rows[0], columns[-1], rows[-1]])
    sides = np.maximum(np.minimum(own[2:], box[2:]) - np.maximum(own[:2], box[:2]) + 1, 0)
    areas = [float(np.prod(one[2:] - one[:2] + 1)) for one in (own, box)]
    return float(np.prod(sides)) / (sum(areas) - float(np.prod(sides)))


def _checked(prompts: ObjectPrompts, frame: Frame, object_id: int) -> ObjectPrompts:
    """Refuse marks outside of the frame, and clip a box to it.

    Raises:
        OptionError: a mark or the whole box lies outside.
    """
    height, width = frame.size
    for stroke in prompts.strokes:
        check_inside(stroke.xy, frame.size, object_id, "mark")
    box: AnyArray | None = prompts.box_xyxy
    if box is None:
        return prompts
    if box[0] >= width or box[1] >= height or box[2] < 0 or box[3] < 0:
        raise OptionError(f"object {object_id}: the box lies outside the frame of {width}x{height}.")
    return replace(prompts, box_xyxy=np.clip(box, 0, np.array([width, height, width, height]) - 1))

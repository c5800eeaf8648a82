"""First label maps from prompts: points, boxes, or a rough mask."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, BoolArray, EmptyMaskError, Frame, LabelMap, OptionError, object_ids, read_label_map
from vos_sam.decoder import Decoded
from vos_sam.detections import read_detections
from vos_sam.model import Embedding, SegmentAnything
from vos_sam.options import BoxesOptions, Granularity, MaskOptions, PointsOptions
from vos_sam.prompt import Prompt
from vos_sam.view import merge_objects

logger = logging.getLogger("vos.sam")

SURE = 10.0
"""Logit that a rough mask is given as."""
SIZES: tuple[Granularity, ...] = ("subpart", "part", "whole")
"""The three masks, from the smallest."""


class PointsInitializer:
    """``sam-points``: one object for each id, from points on it and beside it."""

    def __init__(self, options: PointsOptions, sam: SegmentAnything) -> None:
        self._prompts = parse_points(options.points)
        self._granularity = options.granularity
        self._sam = sam

    def initialize(self, frame: Frame) -> LabelMap:
        """Segment the objects at the points."""
        for object_id, prompt in self._prompts.items():
            _check_inside(frame, object_id, "point", prompt.points_xy)
        return _segment(self._sam, frame, self._prompts, self._granularity)


class BoxesInitializer:
    """``sam-boxes``: one object for each id, from its box."""

    def __init__(self, options: BoxesOptions, sam: SegmentAnything) -> None:
        if options.boxes and options.detections:
            raise OptionError("boxes and detections are both given; give one of them.")
        self._prompts = {} if options.detections else parse_boxes(options.boxes)
        self._options = options
        self._sam = sam

    def initialize(self, frame: Frame) -> LabelMap:
        """Segment the objects in the boxes."""
        options = self._options
        if options.detections is not None:
            boxes = read_detections(
                options.detections, frame, min_score=options.min_score, categories=options.categories
            )
            detected = {object_id: Prompt(box_xyxy=box) for object_id, box in boxes.items()}
            return _segment(self._sam, frame, detected, options.granularity, need_all=False)
        for object_id, prompt in self._prompts.items():
            assert prompt.box_xyxy is not None
            _check_inside(frame, object_id, "box corner", prompt.box_xyxy.reshape(2, 2))
        return _segment(self._sam, frame, self._prompts, options.granularity)


class MaskInitializer:
    """``sam-mask``: each object of a rough label map, refined.

    The prompt of an object is its mask, its box and its innermost pixel. The decoded mask with the highest IoU with
    the rough mask is decoded once more, with its own logits as the mask prompt.
    """

    def __init__(self, options: MaskOptions, sam: SegmentAnything) -> None:
        if options.mask is None:
            raise OptionError("sam-mask needs a rough mask: -O mask=PATH.")
        self._path = options.mask
        self._sam = sam

    def initialize(self, frame: Frame) -> LabelMap:
        """Refine the rough label map."""
        return self.refine(frame, read_label_map(self._path, frame.size))

    def refine(self, frame: Frame, label_map: LabelMap) -> LabelMap:
        """Refine a label map.

        Args:
            frame: the frame.
            label_map: uint8 (H, W), the frame's size.
        Returns:
            uint8 (H, W) with the same ids.
        """
        ids = object_ids(label_map)
        rough = [label_map == i for i in ids]
        (embedding,) = self._sam.encode([frame.image])
        prompts = [self._prompt(mask, embedding) for mask in rough]
        given = torch.stack([p.low_res_logits for p in prompts if p.low_res_logits is not None]) > 0
        decoded = self._sam.decode(embedding, prompts)
        best = _agreement(decoded.low_res_logits > 0, given.to(self._sam.device)).argmax(dim=1)
        chosen = decoded.low_res_logits[torch.arange(len(ids)), best]
        again = [replace(p, low_res_logits=logits) for p, logits in zip(prompts, chosen, strict=True)]
        final = self._sam.decode(embedding, again, multimask=False).low_res_logits[:, 0]
        return _merge(frame, embedding, ids, final)

    def _prompt(self, mask: BoolArray, embedding: Embedding) -> Prompt:
        view = embedding.view
        height, width = (4 * cells for cells in self._sam.grid)
        scale = view.input_size[1] / view.size[1] * width / view.side
        small = cv2.warpAffine(
            mask.astype(np.float32),
            np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5]]),
            (width, height),
            flags=cv2.INTER_LINEAR,
        )
        y, x = np.nonzero(mask)
        inner = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = np.unravel_index(int(inner.argmax()), mask.shape)
        return Prompt(
            np.array([[column, row]]),
            None,
            np.array([x.min(), y.min(), x.max(), y.max()]),
            torch.from_numpy((2 * np.asarray(small) - 1) * SURE).float(),
        )


def parse_points(text: str) -> dict[int, Prompt]:
    """Read points: ``id:x,y,+`` or ``id:x,y,-``, separated by ``;``; the sign may be left out for ``+``.

    Returns:
        One prompt for each id, in order of appearance.
    Raises:
        OptionError: the text does not read so, or an id has no point on it.
    """
    points: dict[int, list[tuple[float, float, int]]] = {}
    for part in _parts(text, "points", "1:120,80,+;1:30,40,-"):
        object_id, values = _entry(part, "point", "id:x,y,+")
        sign = values.pop() if values and values[-1] in ("+", "-") else "+"
        x, y = _numbers(values, 2, part, "id:x,y,+")
        points.setdefault(object_id, []).append((x, y, 1 if sign == "+" else 0))
    prompts = {}
    for object_id, given in points.items():
        array = np.array(given)
        if not array[:, 2].any():
            raise OptionError(
                f"object {object_id} has only points beside it; give at least one on it: {object_id}:x,y,+"
            )
        prompts[object_id] = Prompt(array[:, :2], array[:, 2].astype(np.int64))
    return prompts


def parse_boxes(text: str) -> dict[int, Prompt]:
    """Read boxes: ``id:x0,y0,x1,y1``, separated by ``;``.

    Returns:
        One prompt for each id, in order of appearance.
    Raises:
        OptionError: the text does not read so, a box is empty, or an id has two.
    """
    prompts: dict[int, Prompt] = {}
    for part in _parts(text, "boxes", "1:30,40,200,180"):
        object_id, values = _entry(part, "box", "id:x0,y0,x1,y1")
        box = np.array(_numbers(values, 4, part, "id:x0,y0,x1,y1"))
        if (box[2:] <= box[:2]).any():
            raise OptionError(f'box "{part}" is empty: expected x0 < x1 and y0 < y1.')
        if object_id in prompts:
            raise OptionError(f"object {object_id} has two boxes; give one box for each id.")
        prompts[object_id] = Prompt(box_xyxy=box)
    return prompts


def _parts(text: str, name: str, example: str) -> list[str]:
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts:
        raise OptionError(f'sam-{name} needs {name}: -O "{name}={example}".')
    return parts


def _entry(part: str, what: str, form: str) -> tuple[int, list[str]]:
    head, colon, rest = part.partition(":")
    digits = head.strip()
    # Not isdigit, which takes "²" too; and int refuses thousands of digits.
    object_id = int(digits) if digits.isdecimal() and len(digits) < 10 else 0
    if not colon or not 1 <= object_id <= 254:
        raise OptionError(f'{what} "{part}" is not {form} with an id from 1 to 254.')
    return object_id, [value.strip() for value in rest.split(",")]


def _numbers(values: Sequence[str], count: int, part: str, form: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise OptionError(f'"{part}" is not {form}.')
    return numbers


def _check_inside(frame: Frame, object_id: int, what: str, points_xy: AnyArray | None) -> None:
    assert points_xy is not None
    height, width = frame.size
    for x, y in points_xy:
        if not (0 <= x < width and 0 <= y < height):
            raise OptionError(
                f"object {object_id}: {what} {x:g},{y:g} lies outside the frame, which is {width}x{height}."
            )


def _segment(
    sam: SegmentAnything,
    frame: Frame,
    prompts: dict[int, Prompt],
    granularity: Granularity,
    *,
    need_all: bool = True,
) -> LabelMap:
    (embedding,) = sam.encode([frame.image])
    decoded = sam.decode(embedding, list(prompts.values()))
    return _merge(frame, embedding, tuple(prompts), choose_mask(decoded, embedding, granularity), need_all=need_all)


def choose_mask(decoded: Decoded, embedding: Embedding, granularity: Granularity) -> Tensor:
    """Choose one of each object's three masks.

    Args:
        decoded: K objects' masks.
        embedding: gives the frame's place.
        granularity: the best by predicted IoU, or by area; the model's own order is not always that of sizes.
    Returns:
        float32 (K, S, S) logits.
    """
    if granularity == "best":
        chosen = decoded.predicted_iou.argmax(dim=1)
    else:
        areas = (embedding.view.crop(decoded.low_res_logits) > 0).sum(dim=(2, 3))
        chosen = areas.argsort(dim=1)[:, SIZES.index(granularity)]
    return decoded.low_res_logits[torch.arange(len(chosen)), chosen]


def _merge(
    frame: Frame, embedding: Embedding, ids: Sequence[int], low_res_logits: Tensor, *, need_all: bool = True
) -> LabelMap:
    label_map = merge_objects(embedding.view, ids, low_res_logits)
    missing = sorted(set(ids) - set(object_ids(label_map)))
    if missing and (need_all or len(missing) == len(ids)):
        raise EmptyMaskError(
            f"frame {frame.name}: nothing was found for object {missing[0]}. "
            "Give more points on it, a box around it, or another granularity."
        )
    if missing:
        logger.info("frame %s: objects %s are hidden by others.", frame.name, ", ".join(map(str, missing)))
    return label_map


def _agreement(masks: Tensor, rough: Tensor) -> Tensor:
    """IoU of bool (K, M, S, S) with (K, S, S): (K, M)."""
    shared = (masks & rough[:, None]).sum(dim=(2, 3))
    joined = (masks | rough[:, None]).sum(dim=(2, 3))
    return shared / joined.clamp(min=1)

"""Masks of one object each: ids for their names, and one label map of the masks of a frame."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from vos.errors import AnnotationError
from vos.types.arrays import LabelMap
from vos.types.label_map import MAX_OBJECT_ID, object_ids
from vos.types.whole_numbers import whole_number

logger = logging.getLogger(__name__)

ObjectName: TypeAlias = str | int
"""What a user calls an object: a name, or its id as a number or in digits."""


def ids_of_objects(names: Iterable[ObjectName], taken: Iterable[int] = ()) -> dict[ObjectName, int]:
    """Assign an id to each object.

    Args:
        names: ids as numbers or digits keep their value; names get the lowest free ids in the order given.
        taken: ids that other annotations of the run hold.
    Returns:
        Id by name. A log line lists the ids that names got.
    Raises:
        AnnotationError: a number that is no id.
    """
    order = list(dict.fromkeys(names))
    ids = {
        name: int(name) if isinstance(name, str) else whole_number(name, "object id", AnnotationError)
        for name in order
        if not isinstance(name, str) or name.isdecimal()
    }
    for name, object_id in ids.items():
        if not 1 <= object_id <= MAX_OBJECT_ID:
            raise AnnotationError(f"object id is {name}, expected 1 to {MAX_OBJECT_ID}, or a name such as cup.")
    used = {*ids.values(), *taken}
    free = (object_id for object_id in range(1, MAX_OBJECT_ID + 1) if object_id not in used)
    named = [name for name in order if name not in ids]
    for name in named:
        object_id = next(free, 0)
        if not object_id:
            raise AnnotationError(f"{len(order)} objects are named, more than the {MAX_OBJECT_ID} that a run can have.")
        ids[name] = object_id
    if named:
        logger.info("objects by name: %s.", ", ".join(f"{name} is {ids[name]}" for name in named))
    return ids


def merge_object_masks(masks: Sequence[tuple[str, int, LabelMap]], base: LabelMap | None, frame_index: int) -> LabelMap:
    """Merge the masks of the objects of one frame into one label map.

    Args:
        masks: for each object what the mask is called in messages, its id, and its label map: uint8 (H, W) with one id,
            whatever it is. At least one.
        base: a label map of other objects of the frame, or None.
        frame_index: for messages.
    Returns:
        uint8 (H, W); where masks overlap, the later one is on top, and a log line says how many pixels.
    Raises:
        AnnotationError: a mask with several ids, masks of different sizes, or an object that others hide.
    """
    sizes = {mask.shape: name for name, _, mask in masks} | ({} if base is None else {base.shape: "the label map"})
    if len(sizes) > 1:
        shown = ", ".join(f"{name} is {size[1]}x{size[0]}" for size, name in sizes.items())
        raise AnnotationError(f"masks of frame {frame_index} differ in size: {shown}. They need the frame's size.")
    merged = np.zeros(masks[0][2].shape, dtype=np.uint8) if base is None else base.copy()
    overlap = 0
    for name, object_id, mask in masks:
        ids = object_ids(mask)
        if len(ids) > 1:
            raise AnnotationError(
                f"{name}: given as the mask of one object, and it holds the ids {', '.join(map(str, ids))}. "
                "Give a mask with one object, or the file without an object's name."
            )
        pixels = np.isin(mask, ids)
        overlap += int(np.count_nonzero(merged[pixels]))
        merged[pixels] = object_id
    _refuse_hidden({object_id: name for name, object_id, mask in masks if object_ids(mask)}, merged, frame_index)
    if overlap:
        logger.warning(
            "masks of frame %d overlap in %s pixels; the object that was given later has them.",
            frame_index,
            f"{overlap:,}",
        )
    return merged


def _refuse_hidden(names: Mapping[int, str], merged: LabelMap, frame_index: int) -> None:
    for object_id in sorted(set(names) - set(object_ids(merged))):
        raise AnnotationError(
            f"{names[object_id]}: object {object_id} lies wholly under another object of frame {frame_index}. "
            "Give it after that one."
        )

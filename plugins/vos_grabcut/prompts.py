"""Prompts as text: ``id:...`` entries with ``;`` between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from vos.plugin import AnyArray, BoolArray, OptionError, Size

MAX_ID = 254


@dataclass
class Stroke:
    """A line of points on the object, or beside it.

    Attributes:
        xy: float64 (P, 2), pixels, x first; one row is a point.
        on_object: False for a line beside the object.
    """

    xy: AnyArray
    on_object: bool = True

    def drawn(self, size: Size, radius: int) -> BoolArray:
        """Draw the line ``2 * radius + 1`` pixels wide, a single point as a disc: bool (H, W)."""
        plane = np.zeros(size, dtype=np.uint8)
        last = np.array(size[::-1]) - 1  # a mark at 499.6 of 500 pixels would round to the pixel outside
        points = np.minimum(np.round(self.xy), last).astype(np.int32)
        cv2.polylines(plane, [points.reshape(-1, 1, 2)], False, 1, 2 * radius + 1)
        for point in points[[0, -1]]:
            cv2.circle(plane, point.tolist(), radius, 1, -1)
        return np.asarray(plane > 0)


@dataclass
class ObjectPrompts:
    """All that marks one object.

    Attributes:
        box_xyxy: (4,), pixels; x1 and y1 are the last object pixel. Or None.
        strokes: points and scribbles.
    """

    box_xyxy: AnyArray | None = None
    strokes: list[Stroke] = field(default_factory=list)

    @property
    def marked(self) -> bool:
        """True if there is a mark on the object."""
        return any(stroke.on_object for stroke in self.strokes)


def parse_prompts(boxes: str, points: str, scribbles: str, corrects: bool = False) -> dict[int, ObjectPrompts]:
    """Read boxes, points and scribbles.

    Args:
        boxes: ``id:x0,y0,x1,y1`` entries.
        points: ``id:x,y,+`` entries.
        scribbles: ``id:x,y x,y ... +`` entries.
        corrects: they correct a mask: an object may have only marks beside it.

    Returns:
        Prompts by object id, in order of appearance.
    Raises:
        OptionError: a text does not read so, a box is empty, or an object has two boxes.
    """
    found: dict[int, ObjectPrompts] = {}
    for part in _parts(boxes):
        object_id, rest = _entry(part, "box", "id:x0,y0,x1,y1")
        box = np.array(_numbers(rest.split(","), 4, part, "id:x0,y0,x1,y1"))
        if (box[2:] <= box[:2]).any():
            raise OptionError(f'box "{part}" is empty: expected x0 < x1 and y0 < y1.')
        prompts = found.setdefault(object_id, ObjectPrompts())
        if prompts.box_xyxy is not None:
            raise OptionError(f"object {object_id} has two boxes; give one box for each id.")
        prompts.box_xyxy = box
    for part in _parts(points):
        object_id, rest = _entry(part, "point", "id:x,y,+")
        values, on_object = _signed(rest.split(","))
        xy = np.array([_numbers(values, 2, part, "id:x,y,+")])
        found.setdefault(object_id, ObjectPrompts()).strokes.append(Stroke(xy, on_object))
    for part in _parts(scribbles):
        object_id, rest = _entry(part, "scribble", "id:x,y x,y +")
        values, on_object = _signed(rest.split())
        stroke = Stroke(_vertices(values, part, "id:x,y x,y +"), on_object)
        found.setdefault(object_id, ObjectPrompts()).strokes.append(stroke)
    for object_id, prompts in found.items():
        if not corrects and prompts.box_xyxy is None and not prompts.marked:
            raise OptionError(f"object {object_id} has only marks beside it; give a box, or at least one mark on it.")
    return found


def parse_polygons(text: str) -> dict[int, list[AnyArray]]:
    """Read polygons: ``id:x,y x,y x,y``, separated by ``;``; an object may have several.

    Returns:
        Polygons, float64 (P, 2), by object id, in order of appearance.
    Raises:
        OptionError: the text does not read so, or a polygon has fewer than three corners.
    """
    found: dict[int, list[AnyArray]] = {}
    for part in _parts(text):
        object_id, rest = _entry(part, "polygon", "id:x,y x,y x,y")
        corners = _vertices(rest.split(), part, "id:x,y x,y x,y")
        if len(corners) < 3:
            raise OptionError(f'polygon "{part}" has {len(corners)} corners, expected three or more.')
        found.setdefault(object_id, []).append(corners)
    return found


def check_inside(xy: AnyArray, size: Size, object_id: int, what: str) -> None:
    """Refuse points outside of the frame.

    Raises:
        OptionError: one lies outside.
    """
    height, width = size
    for x, y in xy:
        if not (0 <= x < width and 0 <= y < height):
            raise OptionError(f"object {object_id}: {what} {x:g},{y:g} lies outside the frame of {width}x{height}.")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _entry(part: str, what: str, form: str) -> tuple[int, str]:
    head, colon, rest = part.partition(":")
    digits = head.strip()
    object_id = int(digits) if digits.isdecimal() and len(digits) < 10 else 0
    if not colon or not 1 <= object_id <= MAX_ID:
        raise OptionError(f'{what} "{part}" is not {form} with an id from 1 to {MAX_ID}.')
    return object_id, rest


def _signed(values: list[str]) -> tuple[list[str], bool]:
    """Strip a sign from the end of some values; no sign means on the object."""
    values = [value.strip() for value in values if value.strip()]
    if values and values[-1] in ("+", "-"):
        return values[:-1], values[-1] == "+"
    return values, True


def _vertices(values: list[str], part: str, form: str) -> AnyArray:
    if not values:
        raise OptionError(f'"{part}" is not {form}.')
    return np.array([_numbers(value.split(","), 2, part, form) for value in values])


def _numbers(values: list[str], count: int, part: str, form: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise OptionError(f'"{part}" is not {form}.')
    return numbers

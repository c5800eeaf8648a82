"""Pictures for people: objects in bright colours over a frame, with contours and ids beside them.

Files of masks keep the DAVIS palette, whose dark red and green cannot be seen on a red cup or on grass; here each
object's colour differs from what it lies on and from the other objects' colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from vos.types.arrays import AnyArray, BoolArray, FloatArray, Image, LabelMap, Size
from vos.types.label_map import object_ids

Colour: TypeAlias = tuple[int, int, int]
Plate: TypeAlias = tuple[int, int, int, int]

BRIGHT_COLOURS: tuple[Colour, ...] = (
    (255, 64, 64), (64, 220, 64), (70, 130, 255), (255, 214, 10), (255, 80, 220), (0, 225, 235),
    (255, 140, 20), (170, 100, 255), (180, 255, 40), (255, 150, 170), (20, 190, 150), (250, 250, 250),
)  # fmt: skip
"""RGB; object id k has the colour of row (k - 1) modulo 12 unless that is too near to what lies under it."""

_OWN_BONUS = 25.0
"""How much nearer (in CIELAB) an id's own colour may be than the best one and still be kept."""

_DARK = (16, 16, 16)

_SPECKS = 0.0005
"""Share of an object's pixels that a label's place leaves out at each side of its box."""


def choose_colours(image: Image, label_map: LabelMap, taken: Mapping[int, Colour] | None = None) -> dict[int, Colour]:
    """Choose a bright colour for each object that differs from its pixels, its surroundings and other objects.

    Args:
        image: uint8 (H, W, 3), RGB.
        label_map: uint8 (H, W).
        taken: colours chosen before, by object id; they stay.
    Returns:
        ``taken``, and a colour for every further object in the label map.
    """
    import cv2  # here, so that `import vos` stays quick

    chosen = dict(taken or {})
    lab = _lab(np.asarray(BRIGHT_COLOURS, dtype=np.uint8)[None])[0]
    for object_id in object_ids(label_map):
        if object_id in chosen:
            continue
        mask = (label_map == object_id).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        margin = max(4, label_map.shape[0] // 40)
        part = (slice(max(0, y - margin), y + height + margin), slice(max(0, x - margin), x + width + margin))
        under = _lab(image[part])
        ring = cv2.dilate(mask[part], np.ones((3, 3), np.uint8), iterations=margin) > mask[part]
        near = [under[mask[part] > 0].mean(axis=0)] + ([under[ring].mean(axis=0)] if ring.any() else [])
        distances = [np.linalg.norm(lab - colour, axis=1) for colour in near]
        others = np.asarray([_lab(np.asarray([[colour]], dtype=np.uint8))[0, 0] for colour in chosen.values()]).reshape(
            -1, 3
        )
        distances += [1.5 * np.linalg.norm(lab - other, axis=1) for other in others]
        score = np.min(distances, axis=0)
        score[(object_id - 1) % len(BRIGHT_COLOURS)] += _OWN_BONUS
        chosen[object_id] = BRIGHT_COLOURS[int(np.argmax(score))]
    return chosen


def draw_objects(
    image: Image,
    label_map: LabelMap,
    *,
    opacity: float = 0.5,
    contours: bool = True,
    ids: bool = True,
    notes: Mapping[int, str] | None = None,
    colours: dict[int, Colour] | None = None,
) -> Image:
    """Draw a label map over an image.

    Args:
        image: uint8 (H, W, 3), RGB.
        label_map: uint8 (H, W); void is not drawn.
        opacity: of the fill, from 0 (contours alone) to 1.
        contours: draw a line in the object's colour inside its edge, and a dark one around it.
        ids: write each object's id beside it, small.
        notes: short texts by object id, written after the id (a score, a name).
        colours: RGB by object id. Objects that it lacks get a colour by ``choose_colours``, which is added to it: the
            same dict for every frame of a video keeps each object's colour. None begins with none.
    Returns:
        uint8 (H, W, 3), RGB; a new array.
    Raises:
        ValueError: another type or shape.
    """
    import cv2  # here, so that `import vos` stays quick

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    if label_map.dtype.kind not in "iu" or label_map.shape != image.shape[:2]:
        raise ValueError(f"label map is {label_map.dtype} {label_map.shape}, expected uint8 {image.shape[:2]}")
    drawn: Image = image.copy()
    present = object_ids(label_map)
    if not present:
        return drawn
    chosen = {} if colours is None else colours
    chosen.update(choose_colours(image, label_map, chosen))
    table = np.zeros((256, 3), dtype=np.uint8)
    for object_id in present:
        table[object_id] = chosen[object_id]
    marked = np.asarray(cv2.inRange(label_map, 1, 254), dtype=np.uint8)
    fill: Image = table[label_map]
    cv2.copyTo(cv2.addWeighted(image, 1 - opacity, fill, opacity, 0), marked, drawn)
    if contours:
        inner, outer = _edges(label_map, marked, max(2, round(label_map.shape[0] / 360)))
        drawn[outer] = drawn[outer] // 3
        drawn[inner] = fill[inner]
    if ids:
        placed: list[Plate] = []
        for object_id in present:
            note = (notes or {}).get(object_id)
            text = str(object_id) if note is None else f"{object_id} {note}"
            placed.append(_write_beside(drawn, label_map, object_id, text, chosen[object_id], placed))
    return drawn


def _lab(rgb: Image) -> FloatArray:
    """CIELAB in its own units: L from 0 to 100."""
    import cv2

    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def _edges(label_map: LabelMap, marked: AnyArray, width: int) -> tuple[BoolArray, BoolArray]:
    """Pixels inside objects within ``width`` of another value, and background pixels next to objects."""
    import cv2

    across = label_map[:, 1:] != label_map[:, :-1]
    down = label_map[1:] != label_map[:-1]
    edges = np.zeros(label_map.shape, dtype=np.uint8)
    edges[:, 1:][across] = 255
    edges[:, :-1][across] = 255
    edges[1:][down] = 255
    edges[:-1][down] = 255
    inside = marked > 0
    outer = (edges > 0) & ~inside
    if width > 1:
        edges = np.asarray(cv2.dilate(edges & marked, np.ones((2 * width - 1, 2 * width - 1), np.uint8)), np.uint8)
    return (edges > 0) & inside, outer


def _write_beside(
    drawn: Image,
    label_map: LabelMap,
    object_id: int,
    text: str,
    colour: Colour,
    placed: list[Plate],
) -> Plate:
    """Write a dark text on a plate of the object's colour beside the object, where it covers least of any.

    Returns:
        The plate's left, top, width and height.
    """
    import cv2

    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.35, drawn.shape[0] / 1050)
    thickness = max(1, round(scale * 1.6))
    (text_width, text_height), baseline = cv2.getTextSize(text, font, scale, thickness)
    pad = max(2, round(scale * 5))
    size = (text_height + baseline + pad, text_width + 2 * pad)
    left, top = _place(label_map, object_id, size, pad, placed)
    plate = drawn[top : top + size[0], left : left + size[1]]
    plate[:] = colour
    at = (left + pad, top + pad // 2 + text_height)
    cv2.putText(drawn, text, at, font, scale, _DARK, thickness, cv2.LINE_AA)
    return left, top, size[1], size[0]


def _place(label_map: LabelMap, object_id: int, size: Size, gap: int, placed: list[Plate]) -> tuple[int, int]:
    """The left and top of a plate of a size beside an object: inside the frame, over as few object pixels as can be."""
    x, y, width, height = _box(label_map == object_id)
    rows, columns = label_map.shape
    high, wide = size
    middle = (x + (width - wide) // 2, y + (height - high) // 2)
    candidates = [
        (middle[0], y - high - gap), (middle[0], y + height + gap), (x + width + gap, middle[1]),
        (x - wide - gap, middle[1]), (x, y - high - gap), (x + width - wide, y - high - gap), middle,
    ]  # fmt: skip
    best, least = (0, 0), np.inf
    for left, top in candidates:
        inside = (min(max(0, left), max(0, columns - wide)), min(max(0, top), max(0, rows - high)))
        part = label_map[inside[1] : inside[1] + high, inside[0] : inside[0] + wide]
        covered = np.count_nonzero(part) + abs(inside[0] - left) + abs(inside[1] - top)
        for other_left, other_top, other_wide, other_high in placed:
            across = min(inside[0] + wide, other_left + other_wide) - max(inside[0], other_left)
            down = min(inside[1] + high, other_top + other_high) - max(inside[1], other_top)
            covered += 4 * max(0, across) * max(0, down)
        if covered < least:
            best, least = inside, covered
    return best


def _box(mask: BoolArray) -> tuple[int, int, int, int]:
    """Left, top, width and height of a mask, without specks: their pixels are few, and may lie far from the object."""
    spans = []
    for axis in (0, 1):
        counts = np.cumsum(np.count_nonzero(mask, axis=axis))
        first = int(np.searchsorted(counts, _SPECKS * counts[-1], side="right"))
        last = int(np.searchsorted(counts, (1 - _SPECKS) * counts[-1]))
        spans.append((first, last - first + 1))
    (left, width), (top, height) = spans
    return left, top, width, height

"""Read rough masks of paint programs: any colours on black or on a transparent layer, with soft edges."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vos.plugin import AnnotationError, AnyArray, EmptyMaskError, LabelMap, Size, read_label_map

logger = logging.getLogger("vos.grabcut")

MIN_SHARE = 0.002
"""A colour with a smaller share of the painted pixels is a blend at a soft edge, not the colour of an object."""
SAME_COLOUR_DISTANCE = 48.0
"""Colours with a smaller distance in RGB are one colour."""
BLEND_DISTANCE = 12.0
"""A colour with a smaller distance in RGB to a darker shade of another colour is a blend of that and black."""
MIN_BRIGHTNESS = 24
"""A pixel whose brightest channel is darker is black."""
MAX_UNEXPLAINED = 0.3
"""With a larger share of pixels in other colours the picture is a photo: the frame was saved with the paint."""
MAX_OBJECTS = 254
VOID = 255
"""Label of pixels without a known object."""


def read_rough_mask(path: Path, size: Size) -> LabelMap:
    """Read a painted picture as a label map: each frequent colour is an object.

    Files that ``vos.read_label_map`` can read keep their ids: ids, the DAVIS palette's colours, black and white. In
    other files transparent and black pixels are background, and each other pixel belongs to the nearest frequent
    colour, which resolves soft edges.

    Args:
        path: a picture file of the frame's size.
        size: (H, W) of the frame.
    Returns:
        uint8 (H, W): 0 and ids; for colours 1, 2, ... by falling area.
    Raises:
        AnnotationError: not a picture, of another size, or a photo.
        EmptyMaskError: nothing is painted.
    """
    pixels = _pixels(path, size)
    try:
        exact: LabelMap = read_label_map(path, size)
    except AnnotationError:
        label_map = _by_colour(path, pixels)
    else:
        label_map = np.where(exact == VOID, 0, exact).astype(np.uint8)
    if not label_map.any():
        raise EmptyMaskError(f"{path}: nothing is painted: all pixels are black or transparent.")
    return label_map


def _pixels(path: Path, size: Size) -> AnyArray:
    """Read a picture: uint8 (H, W, 4), RGBA."""
    try:
        with PillowImage.open(path) as image:
            image.load()
            pixels = np.array(image.convert("RGBA"))
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such mask file.") from None
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise AnnotationError(f"{path}: cannot be read as a picture ({error}).") from error
    if pixels.shape[:2] != size:
        raise AnnotationError(
            f"{path}: the picture is {pixels.shape[1]}x{pixels.shape[0]}, the frame is {size[1]}x{size[0]}. "
            "Draw on a frame that `vos frame` wrote, and keep its size."
        )
    return pixels


def _by_colour(path: Path, pixels: AnyArray) -> LabelMap:
    colours = pixels[..., :3].astype(np.int32)
    painted = (pixels[..., 3] > 127) & (colours.max(axis=2) >= MIN_BRIGHTNESS)
    label_map = np.zeros(pixels.shape[:2], dtype=np.uint8)
    if not painted.any():
        return label_map
    shown = colours[painted]
    inks = _inks(shown)
    nearest = np.stack([np.abs(shown - ink).sum(axis=1) for ink in inks]).argmin(axis=0)
    if _unexplained_share(shown, inks[nearest]) > MAX_UNEXPLAINED:
        raise AnnotationError(
            f"{path}: has the many colours of a photo. Save the painted layer alone, without the frame below it."
        )
    # At a soft edge, pixels closer to black than to the colour are background.
    bright = shown.max(axis=1) * 2 >= inks.max(axis=1)[nearest]
    label_map[painted] = np.where(bright, 1 + nearest, 0)
    names = ", ".join(f"#{r:02x}{g:02x}{b:02x} is object {i}" for i, (r, g, b) in enumerate(inks, 1))
    logger.info("%s: read by colour: %s.", path, names)
    return label_map


def _inks(colours: AnyArray) -> AnyArray:
    """Return the frequent colours, int32 (N, 3), by falling area; similar colours count as one."""
    packed = colours @ np.array([1 << 16, 1 << 8, 1])
    values, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    frequent = order[counts[order] >= MIN_SHARE * len(colours)]
    candidates = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)[
        frequent if len(frequent) else order[:1]
    ]
    inks: list[AnyArray] = []
    for value in candidates:
        if all(np.linalg.norm(value - ink) >= SAME_COLOUR_DISTANCE for ink in inks) and not _is_blend(value, inks):
            inks.append(value)
    return np.stack(inks[:MAX_OBJECTS])


def _is_blend(colour: AnyArray, inks: list[AnyArray]) -> bool:
    """Test whether a colour lies between black and one of the colours, as pixels of a soft edge do."""
    for ink in inks:
        share = float(colour @ ink) / float(ink @ ink)
        if 0 < share < 1 and np.linalg.norm(colour - share * ink) < BLEND_DISTANCE:
            return True
    return False


def _unexplained_share(colours: AnyArray, inks: AnyArray) -> float:
    """Return the share of colours, (P, 3), that are not near their ink, (P, 3), or near a blend of it and black."""
    share = np.clip((colours * inks).sum(axis=1) / (inks * inks).sum(axis=1), 0, 1)
    away = np.linalg.norm(colours - share[:, None] * inks, axis=1)
    return float((away >= SAME_COLOUR_DISTANCE).mean())

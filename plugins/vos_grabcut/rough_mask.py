"""Rough masks as paint programs save them: any colours on black, soft edges, a transparent layer."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vos.plugin import AnnotationError, AnyArray, EmptyMaskError, LabelMap, Size, read_label_map

logger = logging.getLogger("vos.grabcut")

MIN_SHARE = 0.002
"""A colour with a smaller share of the painted pixels is a blend at an edge, not an object's."""
NEAR = 48.0
"""Distance in RGB below which two colours are shades of one."""
DARK = 24
"""A pixel whose brightest channel is below this is black."""
MAX_UNEXPLAINED = 0.3
"""A larger share of pixels in other colours is a photo's: the frame was saved with the paint on it."""
MAX_OBJECTS = 254
VOID = 255


def read_rough_mask(path: Path, size: Size) -> LabelMap:
    """Read a painted picture as a label map: each colour that covers enough is an object.

    What ``vos.read_label_map`` reads is taken as it is: ids, the DAVIS palette's colours, black and white. Elsewhere
    transparent and black pixels are background, and each remaining pixel goes to the nearest of the frequent colours,
    so that soft edges do no harm.

    Args:
        path: a picture file of the frame's size.
        size: (H, W) of the frame.
    Returns:
        uint8 (H, W): 0 and ids; of colours they are 1, 2, ... in the order of their areas.
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
    painted = (pixels[..., 3] > 127) & (colours.max(axis=2) >= DARK)
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
    # Half-way to black at a soft edge is background.
    bright = shown.max(axis=1) * 2 >= inks.max(axis=1)[nearest]
    label_map[painted] = np.where(bright, 1 + nearest, 0)
    names = ", ".join(f"#{r:02x}{g:02x}{b:02x} is object {i}" for i, (r, g, b) in enumerate(inks, 1))
    logger.info("%s: read by colour: %s.", path, names)
    return label_map


def _inks(colours: AnyArray) -> AnyArray:
    """The frequent colours, int32 (N, 3), the one with the largest area first; shades of one are one."""
    packed = colours @ np.array([1 << 16, 1 << 8, 1])
    values, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    frequent = order[counts[order] >= MIN_SHARE * len(colours)]
    candidates = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)[
        frequent if len(frequent) else order[:1]
    ]
    inks: list[AnyArray] = []
    for value in candidates:
        if all(np.linalg.norm(value - ink) >= NEAR for ink in inks) and not _is_blend(value, inks):
            inks.append(value)
    return np.stack(inks[:MAX_OBJECTS])


def _is_blend(colour: AnyArray, inks: list[AnyArray]) -> bool:
    """Whether a colour lies between black and an ink, as a soft edge's pixels do."""
    for ink in inks:
        share = float(colour @ ink) / float(ink @ ink)
        if 0 < share < 1 and np.linalg.norm(colour - share * ink) < 12:
            return True
    return False


def _unexplained_share(colours: AnyArray, inks: AnyArray) -> float:
    """Share of the colours, (P, 3), that are neither near their ink, (P, 3), nor a blend of it and black."""
    share = np.clip((colours * inks).sum(axis=1) / (inks * inks).sum(axis=1), 0, 1)
    away = np.linalg.norm(colours - share[:, None] * inks, axis=1)
    return float((away >= NEAR).mean())

"""Rough masks as paint programs save them: any colours on black, soft edges, a transparent layer."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vos.plugin import AnnotationError, AnyArray, EmptyMaskError, LabelMap, Size

logger = logging.getLogger("vos.grabcut")

MIN_SHARE = 0.002
"""A colour with a smaller share of the painted pixels is a blend at an edge, not an object's."""
NEAR = 48.0
"""Distance in RGB below which two colours are shades of one."""
DARK = 24
"""A pixel whose brightest channel is below this is black."""
MAX_OBJECTS = 254


def read_rough_mask(path: Path, size: Size) -> LabelMap:
    """Read a painted picture as a label map: each colour that covers enough is an object.

    A palette file holds ids and is taken as it is. Elsewhere transparent and black pixels are background, and each
    remaining pixel goes to the nearest of the frequent colours, so that soft edges do no harm.

    Args:
        path: a picture file of the frame's size.
        size: (H, W) of the frame.
    Returns:
        uint8 (H, W): 0, and ids from 1 in the order of the colours' areas; a palette file's own ids.
    Raises:
        AnnotationError: not a picture, or of another size.
        EmptyMaskError: nothing is painted.
    """
    try:
        with PillowImage.open(path) as image:
            image.load()
            indices = np.array(image) if image.mode == "P" and "transparency" not in image.info else None
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
    if indices is not None:
        label_map: LabelMap = np.where(indices == 255, 0, indices).astype(np.uint8)
    else:
        label_map = _by_colour(path, pixels)
    if not label_map.any():
        raise EmptyMaskError(f"{path}: nothing is painted: all pixels are black or transparent.")
    return label_map


def _by_colour(path: Path, pixels: AnyArray) -> LabelMap:
    colours = pixels[..., :3].astype(np.int32)
    painted = (pixels[..., 3] > 127) & (colours.max(axis=2) >= DARK)
    label_map = np.zeros(pixels.shape[:2], dtype=np.uint8)
    if not painted.any():
        return label_map
    inks = _inks(colours[painted])
    distances = np.stack([np.abs(colours[painted] - ink).sum(axis=1) for ink in inks])
    # Half-way to black at a soft edge is background.
    bright = colours[painted].max(axis=1) * 2 >= np.array([ink.max() for ink in inks])[distances.argmin(axis=0)]
    label_map[painted] = np.where(bright, 1 + distances.argmin(axis=0), 0)
    names = ", ".join(f"#{r:02x}{g:02x}{b:02x} is object {i}" for i, (r, g, b) in enumerate(inks, 1))
    logger.info("%s: read by colour: %s.", path, names)
    return label_map


def _inks(colours: AnyArray) -> list[AnyArray]:
    """The frequent colours, the one with the largest area first; shades of one are one."""
    values, counts = np.unique(colours, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    inks: list[AnyArray] = [values[order[0]]]
    for value, count in zip(values[order[1:]], counts[order[1:]], strict=True):
        if count < MIN_SHARE * len(colours) or len(inks) == MAX_OBJECTS:
            break
        if all(np.linalg.norm(value - ink) >= NEAR for ink in inks) and not _is_blend(value, inks):
            inks.append(value)
    return inks


def _is_blend(colour: AnyArray, inks: list[AnyArray]) -> bool:
    """Whether a colour lies between black and an ink, as a soft edge's pixels do."""
    for ink in inks:
        share = float(colour @ ink) / float(ink @ ink)
        if 0 < share < 1 and np.linalg.norm(colour - share * ink) < 12:
            return True
    return False

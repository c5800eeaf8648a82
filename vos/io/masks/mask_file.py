"""Mask files: reading a label map from any tool's file, writing one as DAVIS does.

This is the one reader of masks. ``read_label_map`` and ``load_mask`` read what a person draws or a tool exports;
``read_stored_label_map`` reads masks to be scored, where a guess would change a score.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vos.errors import AnnotationError, EmptyMaskError
from vos.io.atomic_files import atomic_write
from vos.io.masks.grey_masks import ONE_OBJECT, as_grey, grey_to_ids, wide_to_ids
from vos.io.masks.mask_decoding import StoredMask, decode_mask, read_content, refuse_other_size, stored_pixels
from vos.io.masks.palette_masks import is_grey_ramp, palette_to_ids
from vos.io.masks.rgb_masks import alpha_to_ids, colours_to_ids
from vos.types.arrays import LabelMap, Size
from vos.types.label_map import object_ids, only_void
from vos.types.palette import PALETTE

logger = logging.getLogger(__name__)

_PALETTE_BYTES = PALETTE.tobytes()


@dataclass(frozen=True, eq=False)
class LoadedMask:
    """A label map that was read from a file or a picture.

    Attributes:
        label_map: uint8 (H, W): 0, ids 1..254, 255 void.
        note: how it was read, where more than the pixel values decided; else None.
    """

    label_map: LabelMap
    note: str | None = None


@dataclass(frozen=True, eq=False)
class StoredLabelMap:
    """A label map as a file stores it, for scoring.

    Attributes:
        label_map: uint8 (H, W), ids by palette, or grey values as stored.
        note: how the palette was read, if it is not DAVIS's; else None.
        grey: the values are grey values, not indices of a palette in colour.
    """

    label_map: LabelMap
    note: str | None = None
    grey: bool = False

    @property
    def binary(self) -> bool:
        """True if the file holds 255, and apart from it only 0: one mask, or only void."""
        return only_void(self.label_map)


def encode_label_map(label_map: LabelMap) -> bytes:
    """Encode a label map as a palette PNG with the DAVIS palette, ids as indices.

    Args:
        label_map: uint8 (H, W).
    Returns:
        The bytes of the PNG file.
    """
    image = PillowImage.fromarray(label_map)
    image.putpalette(_PALETTE_BYTES)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def write_label_map(path: Path | str, label_map: LabelMap) -> None:
    """Write a label map as a palette PNG; the file at ``path`` is complete at all times.

    Args:
        path: the file to write; its folder exists.
        label_map: uint8 (H, W).
    Raises:
        ValueError: not uint8 (H, W).
        OutputError: the file cannot be written.
    """
    label_map = np.asarray(label_map)
    if label_map.dtype != np.uint8 or label_map.ndim != 2 or not label_map.size:
        raise ValueError(f"label map is {label_map.dtype} {label_map.shape}, expected uint8 (H, W)")
    atomic_write(Path(path), encode_label_map(label_map))


def read_label_map(
    path: Path | str, size: Size | None = None, *, allow_empty: bool = False, content: bytes | None = None
) -> LabelMap:
    """Read a label map from a mask file, whatever tool wrote it, or say why it is none.

    Palette files and greyscale files hold ids. A file with only 0 and 255 (or of one bit) holds one object; RGB files
    in the DAVIS palette's colours are mapped to ids; the opaque part of a cut-out is one object. Where more than the
    pixel values decide, a log line says so.

    Args:
        path: PNG (or any lossless format that Pillow reads).
        size: (H, W) that the label map must have; None for any.
        allow_empty: return a label map without objects where it would be an error.
        content: the whole file, where it is one of many in an archive: ``path`` names it in errors, and no line is
            logged.
    Returns:
        uint8 (H, W): 0, ids 1..254, 255 void.
    Raises:
        AnnotationError: not a mask: damaged, lossy, anti-aliased or dithered, foreign colours, wrong size.
        EmptyMaskError: no object in it.
    """
    loaded = load_mask(path, size, allow_empty=allow_empty, content=content)
    if loaded.note is not None and content is None:
        logger.info("%s: %s.", path, loaded.note)
    return loaded.label_map


def load_mask(
    path: Path | str,
    size: Size | None = None,
    *,
    allow_empty: bool = False,
    sequence_values: Collection[int] = (),
    content: bytes | None = None,
) -> LoadedMask:
    """Read a label map from a mask file, with the note that ``read_label_map`` logs.

    Args:
        path: as for ``read_label_map``, and so are the others.
        size: (H, W), or None.
        allow_empty: return a label map without objects.
        sequence_values: of ``grey_values``, where the mask is one of a sequence.
        content: as for ``read_label_map``.
    Returns:
        The label map and the note.
    Raises:
        AnnotationError: as ``read_label_map``.
        EmptyMaskError: as ``read_label_map``.
    """
    try:
        content = read_content(path, "no such mask file") if content is None else content
        label_map, note = _interpret(decode_mask(content, size), sequence_values)
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}.") from error.__cause__
    if not allow_empty and not object_ids(label_map):
        raise EmptyMaskError(f"{path}: no object in the mask: all pixels are background or void. Mark at least one.")
    return LoadedMask(label_map, note)


def label_map_of_image(image: PillowImage.Image, size: Size | None = None) -> LoadedMask:
    """Read a label map from a Pillow image, as from a file.

    Args:
        image: of any mode.
        size: (H, W) that the label map must have; None for any.
    Returns:
        The label map and the note.
    Raises:
        AnnotationError: not a mask.
    """
    stored = stored_pixels(image)
    height, width = stored.pixels.shape[:2]
    refuse_other_size((height, width), size)
    label_map, note = _interpret(stored)
    return LoadedMask(label_map, note)


def read_stored_label_map(path: Path | str, *, painted: bool = False, by_index: bool = False) -> StoredLabelMap:
    """Read a mask file to be scored: ids as stored, and no guess.

    Args:
        path: a PNG file, or any lossless picture that Pillow reads.
        painted: take an RGB picture as a mask of what is not black, which is 1; a cut-out as one of what is opaque.
        by_index: palette indices are the values whatever their colours are, as in maps of classes.
    Returns:
        The label map.
    Raises:
        AnnotationError: missing, damaged, RGB, 16 bit, dithered, soft transparency; the text is a reason without the
            path.
    """
    stored = decode_mask(read_content(path))
    pixels = stored.pixels
    if stored.palette is not None:
        if by_index or is_grey_ramp(stored.palette):
            return StoredLabelMap(pixels, grey=not by_index)
        label_map, note = palette_to_ids(pixels, stored.palette)
        return StoredLabelMap(label_map, note)
    if pixels.dtype != np.uint8:
        raise AnnotationError("more than 8 bits a pixel, expected 8-bit ids")
    alpha = np.uint8(255) if stored.alpha is None else stored.alpha
    if np.any((alpha > 0) & (alpha < 255)):
        raise AnnotationError("soft transparency, expected pixels that are opaque or transparent")
    if pixels.ndim == 2:
        return StoredLabelMap(np.minimum(pixels, alpha), grey=True)
    if painted:
        is_cutout = not np.all(alpha)
        return StoredLabelMap(np.asarray(alpha > 0 if is_cutout else pixels.any(axis=2), dtype=np.uint8))
    raise AnnotationError("an RGB picture, expected a palette or greyscale PNG with ids")


def _interpret(stored: StoredMask, sequence_values: Collection[int] = ()) -> tuple[LabelMap, str | None]:
    """Read stored pixels as ids; the note says how where more than the values decided."""
    pixels = stored.pixels
    if stored.palette is not None:
        # A palette with transparent colours, most often that of the background.
        label_map, note = palette_to_ids(pixels, stored.palette, sequence_values)
        return (label_map if stored.alpha is None else np.where(stored.alpha > 0, label_map, 0).astype(np.uint8)), note
    if pixels.dtype != np.uint8:
        return wide_to_ids(pixels)
    if stored.alpha is not None:
        opaque, one_object = alpha_to_ids(stored.alpha, pixels)
        if one_object:
            return opaque.astype(np.uint8), f"a cut-out: what is opaque is {ONE_OBJECT}"
        pixels = np.where(opaque if pixels.ndim == 2 else opaque[..., None], pixels, 0).astype(np.uint8)
    grey = as_grey(pixels)
    return colours_to_ids(pixels) if grey is None else grey_to_ids(grey, sequence_values)

"""Mask files: reading a label map from any tool's file, writing one as DAVIS does."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vos.errors import AnnotationError, EmptyMaskError
from vos.io.atomic_files import atomic_write
from vos.types.arrays import AnyArray, LabelMap, Size
from vos.types.label_map import object_ids
from vos.types.palette import PALETTE

logger = logging.getLogger(__name__)

_MANY_VALUES = 64
_PALETTE_BYTES = PALETTE.tobytes()


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
    """Write a label map as a palette PNG; what is at ``path`` is always whole.

    Args:
        path: the file to write; its folder exists.
        label_map: uint8 (H, W).
    Raises:
        OutputError: the file cannot be written.
    """
    atomic_write(Path(path), encode_label_map(label_map))


def read_label_map(path: Path | str, size: Size | None = None, *, allow_empty: bool = False) -> LabelMap:
    """Read a label map from a mask file, whatever tool wrote it, or say why it is none.

    Palette files and greyscale files hold ids; a file with only 0 and 255 (or of one bit) holds one
    object; RGB files in the DAVIS palette's colours are mapped to ids. The last two are logged.

    Args:
        path: PNG (or any lossless format that Pillow reads).
        size: (H, W) that the label map must have; None for any.
        allow_empty: return a label map without objects where it would be an error.
    Returns:
        uint8 (H, W): 0, ids 1..254, 255 void.
    Raises:
        AnnotationError: not a mask: 16 bit, lossy or anti-aliased, foreign colours, wrong size.
        EmptyMaskError: no object in it.
    """
    path = Path(path)
    label_map = _pixels_to_ids(path, _read_pixels(path))
    if size is not None and label_map.shape != size:
        height, width = label_map.shape
        raise AnnotationError(
            f"{path}: mask is {width}x{height}, the frame is {size[1]}x{size[0]}. "
            "Draw or resize the mask (nearest neighbour) at the frame's size."
        )
    if not allow_empty and not object_ids(label_map):
        raise EmptyMaskError(f"{path}: no object in the mask: all pixels are background or void. Mark at least one.")
    return label_map


def _read_pixels(path: Path) -> AnyArray:
    """Read a mask file to uint8 (H, W) indices, or (H, W, 3) colours."""
    try:
        with PillowImage.open(path) as image:
            if image.format in ("JPEG", "WEBP", "MPO") and not _is_lossless(image):
                raise AnnotationError(
                    f"{path}: {image.format} is lossy, so ids at edges are lost. Save the mask as PNG."
                )
            image.load()
            if image.mode in ("P", "L"):
                return np.array(image)
            if image.mode == "1":
                return np.array(image.convert("L"))
            if image.mode.startswith("I") or image.mode == "F":
                values = np.array(image)
                raise AnnotationError(
                    f"{path}: mask has 16 or more bits a pixel (values {values.min()} to {values.max()}), "
                    "a label map has 8. Save it as an 8-bit palette or greyscale PNG with ids 1 to 254."
                )
            if image.mode == "LA":
                return _opaque(np.array(image))[..., 0]
            if image.mode in ("RGBA", "PA"):
                return _opaque(np.array(image.convert("RGBA")))
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such mask file.") from None
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise AnnotationError(f"{path}: cannot be read as a mask ({error}). Expected a PNG label map.") from error


def _is_lossless(image: PillowImage.Image) -> bool:
    return image.format == "WEBP" and bool(image.info.get("lossless"))


def _opaque(pixels: AnyArray) -> AnyArray:
    """Drop the alpha channel; transparent pixels become background."""
    return np.where(pixels[..., -1:] > 127, pixels[..., :-1], 0).astype(np.uint8)


def _pixels_to_ids(path: Path, pixels: AnyArray) -> LabelMap:
    if pixels.ndim == 3:
        red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            return _colours_to_ids(path, pixels)
        pixels = np.ascontiguousarray(red)
    counts = np.bincount(pixels.ravel(), minlength=256)
    foreground = int(counts[1:].sum())
    values = np.flatnonzero(counts)
    if set(values.tolist()) <= {0, 255} and counts[255]:
        logger.info("%s: a 0/255 mask, read as one object with id 1.", path)
        binary: LabelMap = (pixels == 255).astype(np.uint8)
        return binary
    if counts[255] > foreground / 2 or len(values) > _MANY_VALUES:
        raise AnnotationError(
            f"{path}: {len(values)} different grey values, as anti-aliased edges or lossy compression leave them; "
            "expected ids, or only 0 and 255. Export the mask without smoothing, as PNG."
        )
    ids: LabelMap = pixels.astype(np.uint8, copy=False)
    return ids


def _colours_to_ids(path: Path, pixels: AnyArray) -> LabelMap:
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    palette = PALETTE.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    order = np.argsort(palette, kind="stable")
    row = np.clip(np.searchsorted(palette[order], packed), 0, 255)
    ids: LabelMap = order[row].astype(np.uint8)
    foreign = palette[ids] != packed
    if foreign.any():
        colour = tuple(int(v) for v in pixels[foreign][0])
        raise AnnotationError(
            f"{path}: RGB mask with {int(foreign.sum())} pixels in colours outside the DAVIS palette, "
            f"first {colour}. Save a palette PNG with ids as indices."
        )
    logger.info("%s: an RGB mask in the DAVIS palette's colours, mapped to ids %s.", path, object_ids(ids))
    return ids

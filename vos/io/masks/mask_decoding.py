"""Decode the bytes of a mask file to its stored pixels; ``mask_file`` turns them into object ids.

Damaged, truncated and oversized files are refused before a pixel is used. Reasons are raised without the path.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from vos.errors import AnnotationError
from vos.io.images.foreign_messages import quietly
from vos.io.images.png_file import SIGNATURE, decode_plain, decompress_rows, parse_png, refuse_too_many_pixels
from vos.io.regular_files import read_regular_file
from vos.types.arrays import AnyArray, Size

MASK_SUFFIXES = frozenset({".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".tga"})
"""Suffixes of the lossless formats that masks come in."""

# PostScript and the like are left out: Pillow would start a program to read them.
_FORMATS = ("PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "TGA", "PCX", "JPEG")
_LOSSY = ("JPEG", "MPO")


@dataclass(frozen=True, eq=False)
class StoredMask:
    """The pixels of a mask file.

    Attributes:
        pixels: palette indices or grey values, uint8 (H, W) or a wider type as stored; or uint8 (H, W, 3), RGB.
        palette: uint8 (P, 3), RGB, where pixels are palette indices; else None.
        alpha: uint8 (H, W), 0 transparent; None where the file has no transparency.
    """

    pixels: AnyArray
    palette: AnyArray | None = None
    alpha: AnyArray | None = None


def read_content(path: Path | str, missing: str = "no such file") -> bytes:
    """Read a whole mask file.

    Args:
        path: the file.
        missing: the reason where there is none.
    Raises:
        AnnotationError: it is not there or cannot be read.
    """
    try:
        return read_regular_file(path)
    except FileNotFoundError:
        raise AnnotationError(missing) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AnnotationError(f"cannot be read ({reason})") from error


def decode_mask(content: bytes, size: Size | None = None) -> StoredMask:
    """Decode a mask file.

    Args:
        content: the whole file.
        size: (H, W) that the mask must have; another is refused before it is decoded. None for any.
    Returns:
        Its pixels as a viewer shows them: turned where an orientation tag says so.
    Raises:
        AnnotationError: damaged, lossy, several pictures, too large, of another size, or no picture.
    """
    if not content:
        raise AnnotationError("an empty file")
    if content.startswith(SIGNATURE):
        png = parse_png(content)
        if png.bare:
            refuse_other_size(png.size, size)
        plain = decode_plain(png, decompress_rows(png))
        if plain is not None:
            return StoredMask(plain, png.palette)
    try:
        with warnings.catch_warnings():
            # Between one and two times its limit, Pillow only warns.
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            opened = PillowImage.open(io.BytesIO(content), formats=_FORMATS)
        with opened as image:
            refuse_too_many_pixels((image.height, image.width))
            if image.format in _LOSSY or (image.format == "WEBP" and not content[12:16] == b"VP8L"):
                raise AnnotationError(f"{image.format} is lossy, so ids at edges are lost. Save the mask as PNG")
            stored, said = quietly(lambda: stored_pixels(image), alone=True)
        damage = [line for line in said if "arning" not in line]
        if damage:
            raise AnnotationError(f"a damaged picture ({damage[0][:200]})")
    except UnidentifiedImageError:
        raise AnnotationError("not a picture") from None
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning):
        raise AnnotationError("its header states more pixels than are read") from None
    except AnnotationError:
        raise
    except Exception as error:  # Pillow's formats raise errors of any kind on damaged files
        raise AnnotationError(f"a damaged picture ({error})") from error
    height, width = stored.pixels.shape[:2]
    refuse_other_size((height, width), size)
    return stored


def refuse_other_size(found: Size, size: Size | None) -> None:
    """Refuse a mask that has not the frame's size.

    Args:
        found: (H, W) of the mask.
        size: (H, W) of the frame; None for any.
    Raises:
        AnnotationError: they differ.
    """
    if size is not None and found != size:
        raise AnnotationError(
            f"mask is {found[1]}x{found[0]}, the frame is {size[1]}x{size[0]}. "
            "Draw or resize the mask (nearest neighbour) at the frame's size"
        )


def stored_pixels(image: PillowImage.Image) -> StoredMask:
    """Read the pixels of a Pillow image, as stored.

    Args:
        image: of any mode.
    Returns:
        Its pixels; an orientation tag is applied.
    Raises:
        AnnotationError: it holds several pictures.
    """
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise AnnotationError(f"it holds {pages} pictures, a mask is one. Save the one that belongs to the frame")
    image = ImageOps.exif_transpose(image)
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        return StoredMask(np.array(image), palette, _palette_alpha(image))
    if image.mode == "1":
        return StoredMask(np.array(image.convert("L")))
    if image.mode == "L" and "transparency" not in image.info:
        return StoredMask(np.array(image))
    if image.mode.startswith("I") or image.mode == "F":
        return StoredMask(np.array(image))
    if image.mode in ("LA", "La") or (image.mode == "L"):
        pixels = np.array(image.convert("LA"))
        return StoredMask(pixels[..., 0], alpha=pixels[..., 1])
    if image.mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        pixels = np.array(image.convert("RGBA"))
        return StoredMask(pixels[..., :3], alpha=pixels[..., 3])
    return StoredMask(np.array(image.convert("RGB")))


def _palette_alpha(image: PillowImage.Image) -> AnyArray | None:
    """The alpha of a palette image's pixels, from the transparency of its colours."""
    transparency = image.info.get("transparency")
    if transparency is None:
        return None
    alpha_of = np.full(256, 255, dtype=np.uint8)
    if isinstance(transparency, bytes):
        alpha_of[: len(transparency)] = np.frombuffer(transparency[:256], dtype=np.uint8)
    else:
        alpha_of[int(transparency)] = 0
    alpha: AnyArray = alpha_of[np.array(image)]
    return alpha

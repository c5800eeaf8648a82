"""Image files: the one reader of frames that are files, of single images and of pages."""

from __future__ import annotations

import functools
import io
import logging
import re
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vos.errors import SourceError
from vos.io.images.foreign_messages import quietly
from vos.io.images.value_scale import ValueScale, find_value_scale
from vos.types.arrays import AnyArray, Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".jp2", ".j2k", ".avif", ".gif", ".sgi", ".ras", ".pcx", ".qoi"}
    | {".hdr"}
)
"""Suffixes, in lower case, of the files that are taken for images in a folder."""

MAX_PIXELS = 1 << 28
"""Pixels of the largest image that is decoded; a header that states more is damaged, or means harm."""

MOST_REPORTED = 100
"""Warnings of damaged images in one process, each of another folder or kind."""

logger = logging.getLogger(__name__)
_DAMAGED = re.compile(
    r"Corrupt JPEG|Premature end|libpng error|(?i:not enough|not yet in table|bad code|uncompressed data)"
)
_reported: set[tuple[Path, str]] = set()
_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def read_image(path: Path | str, scale: ValueScale | None = None) -> Image:
    """Read an image file; its orientation tag is applied, alpha is dropped, more than 8 bits are reduced to 8.

    Args:
        path: an image file of any kind in ``IMAGE_SUFFIXES``, whatever its name; of several pages the first is read.
        scale: how more than 8 bits become 8; None learns it from this image. A sequence needs one for all its frames.
    Returns:
        uint8 (H, W, 3), RGB.
    Raises:
        SourceError: missing, not a file, not an image, cut short, damaged, or of more than ``MAX_PIXELS`` pixels.
    """
    return to_rgb(read_pixels(Path(path)), scale)


def to_rgb(pixels: AnyArray, scale: ValueScale | None = None) -> Image:
    """Make RGB of 8 bits from the pixels of an image.

    Args:
        pixels: (H, W) grey or (H, W, 3) RGB of any real dtype.
        scale: as for ``read_image``.
    Returns:
        uint8 (H, W, 3), C-contiguous.
    """
    if pixels.dtype != np.uint8:
        scale = scale or find_value_scale([pixels])
        assert scale is not None, "more than 8 bits have a scale"
        pixels = scale.apply(pixels)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels)


def read_pixels(path: Path) -> AnyArray:
    """Read an image file's values as they are stored, upright.

    Args:
        path: as for ``read_image``.
    Returns:
        (H, W) grey or (H, W, 3) RGB: uint8, uint16, int32 or float32.
    Raises:
        SourceError: as ``read_image``.
    """
    content = _content_of(path)
    _refuse_damaged(path, content)
    by_opencv = content.startswith((_JPEG, _PNG))
    pixels, said = quietly(lambda: _with_opencv(content) if by_opencv else _with_pillow(path, content))
    if pixels is None:
        reason = f" ({said[0]})" if said else ""
        raise SourceError(f"{path}: not an image that can be read, or damaged{reason}.")
    report_damage(path, said)
    return pixels


def report_damage(path: Path, said: Sequence[str]) -> None:
    """Warn of an image that a library decoded and found damaged; of its other messages, log them.

    Args:
        path: the image.
        said: what the library printed, by line.
    """
    for line in said:
        damaged = _DAMAGED.search(line) is not None
        kind = (path.parent, re.sub(r"[0-9]+", "", line))
        if damaged and kind not in _reported and len(_reported) < MOST_REPORTED:
            _reported.add(kind)
            logger.warning(
                "%s: the image is damaged (%s): some of its pixels are wrong. "
                "Others of its folder with this damage are not named.",
                path,
                line[:200],
            )
        else:
            logger.debug("%s: %s", path, line)


def pixels_of(image: PillowImage) -> AnyArray | None:
    """The values of an image, or of the page at which it stands, upright.

    Args:
        image: opened with Pillow.
    Returns:
        As ``read_pixels``; None where Pillow would cut them to 8 bits.
    """
    from PIL import ImageOps

    if _truncates_tiff(image):
        return None
    white_is_zero = _tiff_tag(image, _PHOTOMETRIC) == 0  # Pillow heeds it with 8 bits alone
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        return np.invert(values) if white_is_zero else values
    if image.mode in ("I", "F"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def open_with_pillow(path: Path) -> PillowImage:
    """Open an image file without decoding it.

    Args:
        path: an image file.
    Returns:
        The image; close it when done.
    Raises:
        SourceError: missing, not a file, not an image, or of more than ``MAX_PIXELS`` pixels.
    """
    _refuse_other_than_files(path)
    return _open(path, path)


@functools.cache
def silent_opencv() -> Any:
    """OpenCV, kept from writing on the terminal; imported late, so that ``import vos`` stays quick."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _content_of(path: Path) -> bytes:
    _refuse_other_than_files(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error


def _refuse_other_than_files(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
    if stat.S_ISDIR(mode):
        raise SourceError(f"{path}: cannot be read (it is a folder).")
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path}: not a regular file (a pipe or a device). Copy its content to a file.")


@functools.cache
def _silence_pillow() -> None:
    """Suppress Pillow's warnings of large images and odd tags; defects that matter raise an error."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _open(path: Path, file: Any) -> PillowImage:
    from PIL import Image as Pillow

    _silence_pillow()
    try:
        image = Pillow.open(file)
    except Pillow.DecompressionBombError as error:
        raise SourceError(f"{path}: not an image that can be read, or damaged: {error}") from error
    except Exception as error:  # Pillow's formats raise errors of any kind on damaged files
        raise SourceError(f"{path}: not an image that can be read, or damaged.") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise SourceError(
            f"{path}: not an image that can be read, or damaged: its header states {width}x{height} pixels, "
            f"at most {MAX_PIXELS} are read."
        )
    if _truncates_tiff(image) and _tiff_tag(image, _PLANES) == 2:
        image.close()
        raise SourceError(
            f"{path}: colours of more than 8 bits in a plane each, which OpenCV reads wrongly. "
            "Save it with the colours of a pixel beside each other (interleaved)."
        )
    return image


def _refuse_damaged(path: Path, content: bytes) -> None:
    """Find in JPEG and PNG files what OpenCV fills with grey, warning of it on the terminal alone."""
    if not content.startswith((_JPEG, _PNG)):
        return
    image = _open(path, io.BytesIO(content))
    try:
        if content.startswith(_PNG):
            if b"IEND" not in content:
                raise SourceError(f"{path}: the image is cut short (its end marker is missing). Copy it again.")
            image.verify()
        elif _lacks_end(content):
            raise SourceError(f"{path}: the image is cut short (its end marker is missing). Copy it again.")
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: the image is damaged ({error}). Copy it again.") from error
    finally:
        image.close()


def _lacks_end(content: bytes) -> bool:
    """True if a JPEG file has no end marker after its pixels; data that cameras append after it is ignored.

    Source: ITU-T T.81, B.1.1: segments state their length; pixels follow the start of scan (FF DA).
    """
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        if content[at + 1] == 0xDA:
            return content.find(b"\xff\xd9", at) < 0
        at += 1 if content[at + 1] == 0xFF else 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return b"\xff\xd9" not in content


def _with_opencv(content: bytes) -> AnyArray | None:
    """Decode with OpenCV: quicker than Pillow, and the depth of colours is kept."""
    cv2 = silent_opencv()
    data = np.frombuffer(content, dtype=np.uint8)
    try:
        if content.startswith((_JPEG, _PNG)):
            pixels: AnyArray | None = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
        else:  # IMREAD_COLOR_RGB gives wrong values for TIFF of 16 bits (OpenCV 5.0.0)
            pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
            pixels = None if pixels is None else pixels[..., ::-1]
    except cv2.error:  # it refuses more pixels than fit in memory, as a damaged header may state
        return None
    return pixels


def _with_pillow(path: Path, content: bytes) -> AnyArray | None:
    from PIL import UnidentifiedImageError

    try:
        image = _open(path, io.BytesIO(content))
    except SourceError as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            return _with_opencv(content)  # such as Radiance HDR
        raise
    with image:
        try:
            pixels = pixels_of(image)
        except Exception as error:  # as in _open
            if image.format == "TIFF":
                return _with_opencv(content)  # compressions and sample layouts that Pillow lacks
            raise SourceError(f"{path}: the image is damaged or cut short ({error}). Copy it again.") from error
    return _with_opencv(content) if pixels is None else pixels


def _truncates_tiff(image: Any) -> bool:
    """True if a TIFF page has several channels of more than 8 bits, which Pillow truncates to 8."""
    bits = _tiff_tag(image, _BITS) or (1,)
    return len(bits) > 1 and max(bits) > 8


def _tiff_tag(image: Any, number: int) -> Any:
    return image.tag_v2.get(number) if image.format == "TIFF" else None

"""Reading label maps to be scored: fast for the PNG files that trackers write, strict for all others.

``vos.read_label_map`` is kind to what a person draws; here a file that is not plainly a label map is a
fault to be reported, since a guess would change a score.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from vos.errors import InputError
from vos.types.arrays import LabelMap

MANY_VALUES = 64
"""More different grey values than this are no ids."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3


@dataclass(frozen=True)
class MaskFile:
    """The pixels of a mask file.

    Attributes:
        label_map: uint8 (H, W), palette indices or grey values as stored; read-only.
        palette: the file has a palette, so that its values are ids for certain.
    """

    label_map: LabelMap
    palette: bool

    @property
    def binary(self) -> bool:
        """True if the file holds 255, and apart from it only 0: one mask, or only void."""
        highest = int(self.label_map.max(initial=0))
        return highest == 255 and not ((self.label_map > 0) & (self.label_map < 255)).any()


def read_mask_file(path: Path | str, *, painted: bool = False) -> MaskFile:
    """Read a mask file as it is.

    Args:
        path: a PNG file, or any lossless picture that Pillow reads.
        painted: take an RGB picture as a mask of what is not black, which is 1.
    Returns:
        Its pixels.
    Raises:
        InputError: missing, unreadable, truncated, RGB, 16 bit; the text is a reason without the path.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError("no such file") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None
    if not content:
        raise InputError("an empty file")
    if content.startswith(_SIGNATURE):
        plain = _plain_png(content, _png_data(content))
        if plain is not None:
            return plain
    return _any_picture(content, painted)


def _png_data(content: bytes) -> list[memoryview]:
    """Collect a PNG file's data chunks and check that they are whole; Pillow does not."""
    view = memoryview(content)
    data: list[memoryview] = []
    start = len(_SIGNATURE)
    while start < len(content):
        end = start + 12 + int.from_bytes(view[start : start + 4], "big")
        if end > len(content):
            break
        kind = content[start + 4 : start + 8]
        if kind == b"IEND":
            return data
        if kind == b"IDAT":
            if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
                raise InputError("a damaged PNG file: its data do not fit their checksum")
            data.append(view[start + 8 : end - 4])
        start = end
    raise InputError("a truncated PNG file")


def _plain_png(content: bytes, data: list[memoryview]) -> MaskFile | None:
    """Decode an 8-bit palette or grey PNG whose rows are stored unfiltered, as Pillow and libpng store indices.

    Anything else is left to Pillow.
    """
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    bit_depth, colour_type, _, _, interlaced = content[24:29]
    if bit_depth != 8 or colour_type not in (_GREY, _PALETTE) or interlaced or not data:
        return None
    size = height * (width + 1)
    try:
        rows = zlib.decompress(data[0] if len(data) == 1 else b"".join(data), bufsize=size + 1)
    except zlib.error:
        return None
    if len(rows) != size or size == 0:
        return None
    pixels = np.frombuffer(rows, dtype=np.uint8).reshape(height, width + 1)
    return None if pixels[:, 0].any() else MaskFile(pixels[:, 1:], colour_type == _PALETTE)


def _any_picture(content: bytes, painted: bool) -> MaskFile:
    try:
        with PillowImage.open(io.BytesIO(content)) as image:
            image.load()
            if image.format == "JPEG":
                raise InputError("a JPEG picture, expected a PNG label map")
            if image.mode == "1":
                return MaskFile(np.asarray(image.convert("L")), palette=False)
            if image.mode in ("P", "L"):
                return MaskFile(np.asarray(image), image.mode == "P")
            if image.mode.startswith("I") or image.mode == "F":
                raise InputError("more than 8 bits a pixel, expected 8-bit ids")
            if painted:
                colours = np.asarray(image.convert("RGB"))
                return MaskFile(np.asarray(colours.any(axis=2), dtype=np.uint8), palette=False)
            raise InputError(f"an {image.mode} picture, expected a palette or greyscale PNG with ids")
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError("not a picture") from None
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise InputError(f"not a readable picture ({error})") from None

"""Image files: the one reader of frames that are files, and of single images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vos.errors import SourceError
from vos.types.arrays import Image


def read_image(path: Path) -> Image:
    """Read an image file; orientation tags are applied, alpha dropped, 16 bits reduced to 8.

    Args:
        path: an image file.
    Returns:
        uint8 (H, W, 3), RGB.
    Raises:
        SourceError: missing, not an image, or cut short.
    """
    import cv2  # here, so that `import vos` stays quick

    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}).") from error
    if _is_cut_short(content):
        raise SourceError(f"{path}: the image is cut short (its end marker is missing). Copy it again.")
    try:
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
    except cv2.error:  # it refuses more pixels than fit in memory, as a damaged header may state
        image = None
    if image is None:
        raise SourceError(f"{path}: not an image that can be read, or damaged.")
    return np.asarray(image, dtype=np.uint8)


def _is_cut_short(content: bytes) -> bool:
    """OpenCV fills what is missing with grey and only warns, so the end marker is looked for."""
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in content[-65536:]
    if content.startswith(b"\x89PNG"):
        return b"IEND" not in content[-65536:]
    return False

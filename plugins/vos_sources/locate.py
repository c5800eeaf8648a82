"""Which reader a location is for."""

from __future__ import annotations

import re
from pathlib import Path

from vos import Source, SourceError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def open_location(location: str) -> Source:
    """Open a camera, a stream, a folder of images, one image, or a video file.

    Args:
        location: a camera index in digits, an address with a scheme, or a path. A file or folder of
            that name comes before a camera index.
    Returns:
        An open source.
    Raises:
        SourceError: nothing is there, or it cannot be read; one line says why.
    """
    path = Path(location)
    there = _is_there(path)
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", location) and not there:
        from vos_sources.stream import StreamSource

        return StreamSource(location)
    if there and path.is_dir():
        from vos_sources.images import ImageSource

        return ImageSource.from_folder(path)
    if there and path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            from vos_sources.images import ImageSource

            return ImageSource([path], name=path.stem, location=location)
        from vos_sources.video import VideoSource

        return VideoSource(path)
    if location.isdecimal() and len(location) < 10:  # not isdigit: int does not take "²"
        from vos_sources.stream import StreamSource

        return StreamSource(int(location))
    raise SourceError(f"{location}: no such file or folder. Expected a video, a folder of images, or a camera index.")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name can be
        return False

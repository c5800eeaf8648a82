"""Choose the reader of a location."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from vos.plugin import IMAGE_SUFFIXES, ImagePages, Source, SourceError


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
    if not location:
        raise SourceError(
            "no video named: the location is empty. Expected a video, a folder of images, or a camera index."
        )
    path = Path(location)
    try:
        there, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
        if there and not is_folder and not is_file:
            camera = re.fullmatch(r"/dev/video([0-9]+)", location)
            advice = f"Name a camera by its index: {camera[1]}." if camera else "Copy its content to a file."
            raise SourceError(f"{location}: not a regular file (a pipe or a device). {advice}")
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # an address may be longer than a name can be
            raise SourceError(f"{location}: cannot be read ({error.strerror}).") from error
        there = is_folder = is_file = False
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", location) and not there:
        from vos_sources.stream import StreamSource

        return StreamSource(location)
    if is_folder:
        from vos_sources.image_folder import ImageSource

        return ImageSource.from_folder(path)
    if is_file:
        if path.suffix.lower() in IMAGE_SUFFIXES - {".gif"}:  # GIF has times, and is read as a video
            return _open_images_of(path)
        from vos_sources.video_file import VideoSource

        return VideoSource(path)
    if re.fullmatch(r"[0-9]{1,4}", location):
        from vos_sources.stream import StreamSource

        return StreamSource(int(location))
    raise SourceError(f"{location}: no such file or folder. Expected a video, a folder of images, or a camera index.")


def _open_images_of(path: Path) -> Source:
    """Open an image file: one frame, or a frame for each of its pages."""
    from vos_sources.image_folder import WITH_PAGES, ImageSource
    from vos_sources.image_stack import ImageStackSource

    if path.suffix.lower() in WITH_PAGES:
        pages = ImagePages(path)
        try:
            pages.check_axes()
            if len(pages) > 1:
                return ImageStackSource(path, pages)
        except BaseException:
            pages.close()
            raise
        pages.close()
    return ImageSource([path], name=path.stem, location=str(path))

"""Frames from one file that holds several images: a TIFF stack, an animated WebP or PNG."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from vos.plugin import Frame, ImagePages, SourceError, SourceInfo, TruncatedSourceError

logger = logging.getLogger("vos.sources")


class ImageStackSource:
    """The pages of one file, as frames of a sequence."""

    def __init__(self, path: Path, pages: ImagePages) -> None:
        """Read from an open file.

        Args:
            path: of the file.
            pages: at least one; the source closes it.
        Raises:
            SourceError: a page cannot be read.
        """
        self._path = path
        self._pages = pages
        self._lock = threading.Lock()
        self._times = pages.seconds()
        scale = pages.learn_scale()
        if scale is not None:
            logger.info("%s: %s.", path, scale.text)
        height, width = pages.read(0).shape[:2]
        self._digits = max(5, len(str(len(pages) - 1)))
        fps = len(pages) / (2 * self._times[-1] - self._times[-2]) if self._times and len(pages) > 1 else None
        self._info = SourceInfo(
            location=str(path),
            name=path.stem,
            kind="image stack",
            frame_count=len(pages),
            size=(height, width),
            fps=fps,
        )

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames; see ``vos.plugin.Source``.

        Raises:
            SourceError: a page has another size than the first.
            TruncatedSourceError: a page is damaged.
        """
        for index in range(len(self._pages)) if indices is None else indices:
            try:
                with self._lock:
                    image = self._pages.read(index)
            except SourceError as error:
                raise TruncatedSourceError(
                    str(error), frames_read=index, frames_declared=len(self._pages)
                ) from error.__cause__
            if image.shape[:2] != self._info.size:
                rows, columns = self._info.size or (0, 0)
                raise SourceError(
                    f"{self._path}: page {index} of {len(self._pages)} is {image.shape[1]}x{image.shape[0]}, the first "
                    f"one is {columns}x{rows}. All frames of a sequence need one size."
                )
            yield Frame(index, image, f"{index:0{self._digits}d}", None if self._times is None else self._times[index])

    def close(self) -> None:
        """Release the file."""
        self._pages.close()

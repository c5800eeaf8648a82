"""Frames from image files: a folder in natural order, a DAVIS or YouTube-VOS sequence, or one image."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from vos.plugin import (
    IMAGE_SUFFIXES,
    Frame,
    Image,
    ImageFiles,
    ImagePages,
    SourceError,
    SourceInfo,
    TruncatedSourceError,
    natural_order,
)
from vos_sources.quiet import quieten

logger = logging.getLogger("vos.sources")

DECODE_THREADS = 2
DECODE_AHEAD = 4
WITH_PAGES = frozenset({".tif", ".tiff", ".webp", ".png", ".apng", ".avif", ".gif"})
"""Suffixes of image files that may hold several images."""


class ImageSource:
    """A sequence of image files; a few are decoded ahead, in order."""

    def __init__(self, paths: Sequence[Path], name: str, location: str, annotation_folder: Path | None = None) -> None:
        """List the frames of given files.

        Args:
            paths: image files in frame order, at least one; their stems name the frames.
            name: the sequence's name.
            location: what the user gave.
            annotation_folder: label maps that lie beside the frames, or None.
        Raises:
            SourceError: two files have one stem, so that their masks would overwrite each other.
        """
        stems = [path.stem for path in paths]
        if len(set(stems)) != len(stems):
            twice = next(stem for stem in stems if stems.count(stem) > 1)
            both = ", ".join(path.name for path in paths if path.stem == twice)
            raise SourceError(f'{location}: frame name "{twice}" appears twice ({both}). Keep one of them.')
        self._paths = list(paths)
        quieten()
        self._files = ImageFiles(self._paths)
        if self._files.scale is not None:
            logger.info("%s: %s.", location, self._files.scale.text)
        self._info = SourceInfo(
            location=location,
            name=name,
            kind="image folder" if len(paths) > 1 else "image",
            frame_count=len(paths),
            size=self._files.size,
            frame_names=tuple(stems),
            annotation_folder=annotation_folder,
            frame_files=tuple(path.name for path in paths),
        )

    @classmethod
    def from_folder(cls, folder: Path) -> ImageSource:
        """Open a folder of images in natural order (``2.jpg`` before ``10.jpg``).

        Args:
            folder: holds image files; other files are left out.
        Returns:
            A source; with an annotation folder if the layout is DAVIS's or YouTube-VOS's.
        Raises:
            SourceError: no image in it.
        """
        try:
            entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
        except OSError as error:
            raise SourceError(f"{folder}: cannot be read ({error.strerror}).") from error
        images = [entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES]
        if not images:
            inner = next((e for e in entries if e.is_dir()), None)
            hint = f' It holds folders: name one of them, such as "{inner.name}".' if inner else ""
            raise SourceError(f"{folder}: no image in this folder ({', '.join(sorted(IMAGE_SUFFIXES))}).{hint}")
        ordered = natural_order(images)
        _name_left_out(folder, [e.name for e in entries if e.suffix.lower() not in IMAGE_SUFFIXES and not e.is_dir()])
        _refuse_pages(ordered[0])
        name = folder.resolve().name
        return cls(ordered, name, str(folder), annotation_folder_of(folder))

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames; see ``vos.plugin.Source``."""
        waiting: deque[tuple[int, Future[Image]]] = deque()
        with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="vos-decode") as pool:
            try:
                for index in range(len(self._paths)) if indices is None else indices:
                    waiting.append((index, pool.submit(self._files.read, index)))
                    if len(waiting) >= DECODE_AHEAD:
                        yield self._frame(*waiting.popleft())
                while waiting:
                    yield self._frame(*waiting.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Nothing stays open."""

    def _frame(self, index: int, image: Future[Image]) -> Frame:
        path = self._paths[index]
        try:
            return Frame(index, image.result(), path.stem)
        except SourceError as error:
            raise TruncatedSourceError(
                str(error), frames_read=index, frames_declared=len(self._paths)
            ) from error.__cause__


def _name_left_out(folder: Path, names: Sequence[str]) -> None:
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        files = "file is" if len(names) == 1 else "files are"
        logger.info("%s: %d %s no image and left out: %s.", folder, len(names), files, shown)


def _refuse_pages(path: Path) -> None:
    """Refuse a folder of files that hold several images each."""
    if path.suffix.lower() not in WITH_PAGES:
        return
    pages = ImagePages(path)
    count = len(pages)
    pages.close()
    if count > 1:
        raise SourceError(
            f"{path}: this file holds {count} images, and in a folder a file is one frame. Name the file itself."
        )


def annotation_folder_of(folder: Path) -> Path | None:
    """Find the label maps that belong to a DAVIS or YouTube-VOS frame folder.

    Args:
        folder: such as ``DAVIS/JPEGImages/480p/bear`` or ``train/JPEGImages/0043f083b5``.
    Returns:
        ``.../Annotations/...`` with the same rest, if that folder exists; else None.
    """
    parts = folder.resolve().parts
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] == "JPEGImages":
            twin = Path(*parts[:position], "Annotations", *parts[position + 1 :])
            return twin if twin.is_dir() else None
    return None

"""Frames from a video file: the k-th frame is the k-th that ffmpeg shows, however it is reached."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from vos.plugin import Frame, Image, SourceError, SourceInfo, TruncatedSourceError
from vos_sources.open_video import OpenVideo, open_video
from vos_sources.pyav_reader import DecodeError, PyAvReader

logger = logging.getLogger("vos.sources")

BACKWARD_BYTES = 192 << 20
"""Frames held at a time when going backward: they are decoded forward, in blocks of this size."""


class VideoSource:
    """A video file whose frames can be read in any order, turned as a player shows them, times in seconds."""

    def __init__(self, path: Path) -> None:
        """Open a video file and index its frames.

        Args:
            path: the file.
        Raises:
            SourceError: not a video, no video track, or its first frame cannot be decoded.
        """
        self._path = path
        self._video: OpenVideo = open_video(path)
        self._reader: PyAvReader = self._video.reader
        self._lock = threading.Lock()
        self._digits = max(5, len(str(self._video.frame_count - 1)))
        try:
            self._first = first = self._reader.read(0)
        except DecodeError as error:
            self.close()
            raise SourceError(f"{path}: no frame can be decoded ({error}). Convert it to H.264 with ffmpeg.") from error
        height, width = first.shape[:2]
        self._info = SourceInfo(
            location=str(path),
            name=path.stem,
            kind="video (PyAV)",
            frame_count=self._video.frame_count,
            size=(height, width),
            fps=self._video.fps,
            sample_aspect_ratio=self._video.sample_aspect_ratio or Fraction(1),
        )

    @property
    def info(self) -> SourceInfo:
        """Metadata known before any frame is read."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames; see ``vos.plugin.Source``.

        Raises:
            SourceError: a frame has another size than the first.
            TruncatedSourceError: the file is damaged or cut short before a frame.
        """
        if indices is None:
            indices = range(self._video.frame_count)
        if indices.step > 0:
            yield from map(self._frame, indices)
            self._check_end(indices)
            return
        assert self._info.size is not None, "known since the first frame"
        block = max(BACKWARD_BYTES // (3 * self._info.size[0] * self._info.size[1]), 8)
        for begin in range(0, len(indices), block):
            part = indices[begin : begin + block]
            yield from reversed([self._frame(index) for index in part[::-1]])

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def _frame(self, index: int) -> Frame:
        return Frame(index, self._read(index), f"{index:0{self._digits}d}", self._video.index.time(index))

    def _read(self, index: int) -> Image:
        if index == 0:
            return self._first  # it is decoded already, and the reader stands behind it
        if index >= len(self._video.index):
            raise self._ends_early(index, len(self._video.index))
        try:
            with self._lock:
                image = self._reader.read(index)
        except DecodeError as error:
            logger.debug("%s: frame %d: %s", self._path, index, error)
            raise self._ends_early(index, self._video.first_lost_frame(index, error)) from error
        height, width = image.shape[:2]
        if (height, width) != self._info.size:
            rows, columns = self._info.size or (0, 0)
            raise SourceError(
                f"{self._path}: frame {index} is {width}x{height}, the first one is {columns}x{rows}. "
                f"All frames of a sequence need one size: track the part before with --stop {index}, or convert it."
            )
        return image

    def _check_end(self, indices: range) -> None:
        """Report a missing frame that a step has skipped, or an incomplete last one."""
        good = len(self._video.index)
        if indices.start <= good < min(indices.stop, self._video.frame_count):
            raise self._ends_early(good, good)
        if indices and indices.step > 1 and indices.stop >= good and indices[-1] < good - 1:
            self._read(good - 1)

    def _ends_early(self, index: int, good: int) -> TruncatedSourceError:
        of = f" of {self._video.length}" if self._video.length else ""
        last = f"the last good one is {good - 1}" if good else "no one is good"
        return TruncatedSourceError(
            f"{self._path}: damaged or cut short: frame {index}{of} cannot be read, {last}.",
            frames_read=good,
            frames_declared=self._video.frame_count,
        )

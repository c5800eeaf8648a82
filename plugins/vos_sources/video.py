"""Frames from a video file: decord, then OpenCV, then PyAV, each taking over where the last one fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from vos.plugin import Frame, Image, SourceError, SourceInfo, TruncatedSourceError
from vos_sources.readers import Reader, ReadError, VideoHeader, open_readers, probe

logger = logging.getLogger("vos.sources")

FIRST_READER = "decord"
"""The reader that goes without saying; taking another one is logged."""

BACKWARD_CHUNK = 32
"""Frames decoded forward at a time when going backward: bounds memory and the number of seeks."""


class VideoSource:
    """A video file whose frames can be read in any order, rotation applied, times in seconds."""

    def __init__(self, path: Path) -> None:
        """Open a video file.

        Args:
            path: the file.
        Raises:
            SourceError: not a video, no video track, or no reader can decode its first frame.
        """
        self._path = path
        self._header: VideoHeader = probe(path)
        self._readers: Iterator[Reader] = open_readers(path, self._header)
        self._reader: Reader | None = None
        self._failures: list[str] = []
        self._told = ""
        self._decoded = 0
        self._declared: int | None = self._header.frame_count
        first, _ = self._read(0)
        self._info = self._describe(first)
        self._declared = self._declared or self._info.frame_count
        self._digits = max(5, len(str((self._info.frame_count or 1) - 1)))

    @property
    def info(self) -> SourceInfo:
        """What is known before reading."""
        return self._info

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """Read frames; see ``vos.Source``."""
        count = self._info.frame_count
        if indices is None:
            indices = range(count if count is not None else _NO_END)
        if indices.step > 0:
            yield from self._forward(indices)
            return
        for begin in range(0, len(indices), BACKWARD_CHUNK):
            chunk = indices[begin : begin + BACKWARD_CHUNK]
            yield from reversed(list(self._forward(chunk[::-1])))

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()

    def _describe(self, first: Image) -> SourceInfo:
        reader = self._reader
        assert reader is not None, "a frame was read"
        return SourceInfo(
            location=str(self._path),
            name=self._path.stem,
            kind=f"video ({reader.name})",
            frame_count=reader.frame_count,
            size=(int(first.shape[0]), int(first.shape[1])),
            fps=self._header.fps,
        )

    def _forward(self, indices: range) -> Iterator[Frame]:
        for index in indices:
            try:
                image, seconds = self._read(index)
            except EOFError:
                return
            yield Frame(index, image, f"{index:0{self._digits}d}", seconds)

    def _read(self, index: int) -> tuple[Image, float | None]:
        """Read one frame with the present reader, or with the first later one that can.

        Raises:
            EOFError: the video ends before this frame, and its header did not promise it.
            SourceError: no reader can decode anything.
            TruncatedSourceError: no reader gets past the frame before.
        """
        while True:
            if self._reader is None:
                self._reader = next(self._readers, None)
                if self._reader is None:
                    raise self._nothing_reads(index)
            try:
                frame = self._reader.read(index)
            except ReadError as failure:
                self._decoded = max(self._decoded, failure.decoded)
                self._failures.append(f"{self._reader.name}: {failure}")
                logger.debug("%s: frame %d: %s", self._path, index, self._failures[-1])
                self._reader.close()
                self._reader = None
                continue
            if self._told != self._reader.name:
                self._told = self._reader.name
                if self._told != FIRST_READER:
                    logger.info("%s: read with %s from frame %d on.", self._path, self._told, index)
            self._decoded = max(self._decoded, index + 1)
            return frame

    def _nothing_reads(self, index: int) -> Exception:
        declared = self._declared
        if index == 0:
            reasons = "; ".join(self._failures) or "no reader can open it"
            return SourceError(f"{self._path}: no frame can be decoded ({reasons}). Convert it to H.264 with ffmpeg.")
        if declared is None or index >= declared:
            return EOFError()
        return TruncatedSourceError(
            f"{self._path}: damaged or cut short: frame {index} of {declared} cannot be read, the last good "
            f"one is {self._decoded - 1}. Use --stop {self._decoded} or --allow-truncated to take what is there.",
            frames_read=self._decoded,
            frames_declared=declared,
        )


_NO_END = 1 << 40

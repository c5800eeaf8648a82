"""Three ways to decode a video file, behind one small interface."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np

from vos.plugin import Image, SourceError
from vos_sources.quiet import quieten

logger = logging.getLogger("vos.sources")

quieten()


class ReadError(Exception):
    """A reader cannot decode a frame; the text says why.

    Attributes:
        decoded: how many frames, counted from the first, it could decode before; 0 if it cannot tell.
    """

    def __init__(self, message: str, decoded: int = 0) -> None:
        super().__init__(message)
        self.decoded = decoded


@dataclass(frozen=True)
class VideoHeader:
    """What a file says of itself.

    Attributes:
        frame_count: number of frames that the container states, or None.
        fps: mean frames per second, or None.
    """

    frame_count: int | None
    fps: float | None


class Reader(Protocol):
    """Decodes frames by index; best in ascending order."""

    name: str
    frame_count: int | None

    def read(self, index: int) -> tuple[Image, float | None]:
        """Decode a frame: uint8 (H, W, 3) RGB, upright, and its time in seconds. Raises ReadError."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def probe(path: Path) -> VideoHeader:
    """Read a file's header without decoding.

    PyAV does this before any other reader, since decord reports a file that it cannot open on
    stderr and with misleading reasons.

    Args:
        path: the file.
    Returns:
        Its stated length and rate.
    Raises:
        SourceError: empty, not a media file, index lost, or no video track.
    """
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes).")
    try:
        with av.open(address_of(path)) as container:
            if not container.streams.video:
                raise SourceError(f"{path}: no video track in it (it has {_tracks(container)}).")
            stream = container.streams.video[0]
            return VideoHeader(stream.frames or None, float(stream.average_rate) if stream.average_rate else None)
    except av.error.FFmpegError as error:
        reason = error.strerror or str(error)
        raise SourceError(
            f"{path}: cannot be opened as a video ({reason}). It is damaged, cut short, or no video."
        ) from error


def address_of(path: Path) -> str:
    """A file's path as FFmpeg takes it: absolute, since "12:30.mp4" would be a protocol named 12."""
    return str(path.absolute())


def open_readers(path: Path, header: VideoHeader) -> Iterator[Reader]:
    """Open one reader after the other, as each is asked for; those that cannot open are passed over.

    Args:
        path: the file.
        header: what ``probe`` found.
    Yields:
        decord (where it is installed), OpenCV, PyAV.
    """
    for make in (DecordReader, OpenCvReader, AvReader):
        try:
            yield make(path, header)
        except ReadError as failure:
            logger.debug("%s: %s cannot open it: %s", path, make.name, failure)


class DecordReader:
    """decord: exact length, exact seeking, rotation by itself."""

    name = "decord"

    def __init__(self, path: Path, header: VideoHeader) -> None:
        try:
            import decord
        except ImportError as error:
            raise ReadError("decord is not installed here") from error
        _refuse_bytes(path)
        decord.logging.set_level(decord.logging.QUIET)
        # DECORDError derives from Exception alone, and other failures are plain RuntimeErrors.
        try:
            self._video = decord.VideoReader(address_of(path), ctx=decord.cpu(0))
            self.frame_count: int | None = len(self._video)
        except Exception as error:
            raise ReadError(_first_line(error)) from error
        if not self.frame_count:
            raise ReadError("it finds no frames")
        self._start: float | None = None

    def read(self, index: int) -> tuple[Image, float | None]:
        """Decode a frame; see ``Reader``."""
        try:
            image: Image = self._video[index].asnumpy()
            seconds = self._time(index)
        except Exception as error:
            raise ReadError(_first_line(error)) from error
        if image.ndim != 3 or image.shape[2] != 3:
            # Seen with decord 0.6.0 on rotated videos under 64 px wide: row padding becomes a channel.
            raise ReadError(f"it gives an array of shape {image.shape}")
        return image, seconds

    def close(self) -> None:
        """Let go of the file."""
        del self._video

    def _time(self, index: int) -> float:
        if self._start is None:
            self._start = float(self._video.get_frame_timestamp(0)[0])
        return float(self._video.get_frame_timestamp(index)[0]) - self._start


class OpenCvReader:
    """OpenCV: opens some files that decord does not; ends early in silence, so a short read is a failure."""

    name = "OpenCV"

    def __init__(self, path: Path, header: VideoHeader) -> None:
        _refuse_bytes(path)
        self._capture = cv2.VideoCapture(address_of(path), cv2.CAP_FFMPEG)
        self._next = 0
        self._start = 0.0
        self.frame_count = header.frame_count
        if not self._capture.isOpened():
            raise ReadError("cannot open it")

    def read(self, index: int) -> tuple[Image, float | None]:
        """Decode a frame; see ``Reader``."""
        if index < self._next and not self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0):
            raise ReadError("cannot go back")
        if index < self._next:
            self._next = 0
        while self._next < index:
            if not self._capture.grab():
                raise ReadError("no more frames", self._next)
            self._next += 1
        good, image = self._capture.read()
        if not good:
            raise ReadError("no more frames", self._next)
        milliseconds = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        if index == 0:
            self._start = milliseconds
        self._next = index + 1
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8), (milliseconds - self._start) / 1000

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()


class AvReader:
    """PyAV: decodes what the other two lack (AV1), frame by frame from the start or the key frame before."""

    name = "PyAV"

    def __init__(self, path: Path, header: VideoHeader) -> None:
        try:
            self._container: Any = av.open(address_of(path))
        except av.error.FFmpegError as error:
            raise ReadError(_first_line(error)) from error
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.frame_count = header.frame_count
        self._next = 0
        self._start: float | None = None
        self._decoded: Iterator[Any] = self._container.decode(self._stream)

    def read(self, index: int) -> tuple[Image, float | None]:
        """Decode a frame; see ``Reader``."""
        if index < self._next:
            self._container.seek(0)
            self._next = 0
            self._decoded = self._container.decode(self._stream)
        try:
            for frame in self._decoded:
                self._next += 1
                if self._start is None:
                    self._start = frame.time or 0.0
                if self._next == index + 1:
                    return self._upright(frame), None if frame.time is None else frame.time - self._start
        except av.error.FFmpegError as error:
            raise ReadError(_first_line(error), self._next) from error
        raise ReadError("no more frames", self._next)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    @staticmethod
    def _upright(frame: Any) -> Image:
        pixels = frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def _refuse_bytes(path: Path) -> None:
    """Leave names that are no UTF-8 to PyAV: decord cannot take them, and OpenCV crashes."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise ReadError("its name is not UTF-8") from error


def _tracks(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "no track"


def _first_line(error: BaseException) -> str:
    """Keep the reason of a long native message, without its file names and stack."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line.rsplit("] ", 1)[-1].split("Check failed: ")[-1][:120]

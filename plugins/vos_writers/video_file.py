"""A video file that is being written: codec, colours, times, the pixels' shape, sound and timecode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from vos.plugin import AnyArray, Frame, OutputError, Run, Size, discard_partial, finish_partial, output_errors
from vos_writers.options import begin_file
from vos_writers.sound import SoundTrack

IMAGE_FOLDER_FPS = 24.0
"""DAVIS clips play at 24 frames a second."""

TICKS = 200
"""Ticks of the clock in a frame of a usual rate: frames of a constant rate fall on whole ones."""

PLAIN_TIME_BASE = Fraction(1, 90_000)
"""Seconds a tick for other rates, such as a mean over pauses; a frame of MP4 lasts at most 2^31 ticks."""

MAX_H264_SIDE = 16384
"""Pixels; x264 encodes no larger images."""

HD_LINES = 720
"""From this height on, colours are coded by BT.709, below by BT.601, as players assume."""

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "matroska"}
_BT709, _BT601 = 1, 6  # ISO/IEC 23091-4: colour primaries, transfer characteristics and matrix
_LIMITED_RANGE = 1


@dataclass(frozen=True)
class Coding:
    """Settings of a video encoder.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name of the pixel format.
        options: options of the encoder.
        even: images of odd size get another row or column, which pixel formats with subsampled colours need.
    """

    codec: str
    pixel_format: str
    options: Mapping[str, str] = field(default_factory=dict)
    even: bool = False


def x264_coding(crf: int) -> Coding:
    """Make the settings of H.264 that plays everywhere.

    Without ``mbtree``: its code for AVX-512 reads memory that nothing has written, so that the same pictures sometimes
    gave another file.

    Args:
        crf: quality, 0 (lossless) to 51.
    """
    return Coding("libx264", "yuv420p", {"crf": str(crf), "preset": "veryfast", "mbtree": "0"}, even=True)


class Clock:
    """Presentation times of the frames of a run: the source's own where it has them, else a constant rate."""

    def __init__(self, run: Run, fps: float | None) -> None:
        """Find the rate.

        Args:
            run: the run; its step divides the source's rate.
            fps: frames per second that the user asked for: a constant rate then; None for the source's times.
        """
        mean = fps or (run.source.fps or IMAGE_FOLDER_FPS) / run.selection.get("step", 1)
        self.rate = Fraction(mean).limit_denominator(100_000 if mean < 1 else 1001)
        is_usual = self.rate >= 10 and self.rate.denominator in (1, 1001)
        self.time_base = 1 / (self.rate * TICKS) if is_usual else PLAIN_TIME_BASE
        self._ticks = 1 / (self.rate * self.time_base)
        # Times within it are those of a constant rate: MKV rounds them to milliseconds.
        self._rounding = min(self._ticks / 100, Fraction(1, 1000) / self.time_base)
        self._constant = fps is not None
        self._first: float | None = None
        self._last = -1
        self._count = 0

    @property
    def end(self) -> float:
        """Seconds at which the last frame ends, if it has the mean length."""
        return float((self._last + self._ticks) * self.time_base)

    def tick(self, time: float | None) -> int:
        """The next frame's time, in units of ``time_base``; never before the frame before."""
        after = round(self._count * self._ticks) if self._first is None else self._last + round(self._ticks)
        if not self._constant and time is not None:
            if self._first is None:
                self._first = time
            exact = (Fraction(time) - Fraction(self._first)) / self.time_base
            after = max(round(exact), self._last + 1)
            nearest = round(round(after / self._ticks) * self._ticks)
            if abs(after - nearest) <= self._rounding and nearest > self._last:
                after = nearest
        self._last = after
        self._count += 1
        return after


class VideoFile:
    """Encodes pictures into a temporary file that gets its name at the end."""

    def __init__(self, path: Path, coding: Coding, run: Run, *, fps: float | None = None, sound: bool = False) -> None:
        """Begin the file.

        Args:
            path: the final file, whose suffix names the container.
            coding: codec and pixel format.
            run: its source gives rate, times, pixel shape and sound.
            fps: a constant rate in place of the source's times.
            sound: copy the source's sound; a source without any is no error.
        Raises:
            OutputError: the file cannot be written.
        """
        self._path, self._coding, self._run = path, coding, run
        opened, self._partial = begin_file(path)
        opened.close()
        container = _CONTAINERS[path.suffix.lower()]
        # Bitexact: without it WebM holds a random number, and two runs do not give the same file.
        options = {"movflags": "+faststart+write_colr"} if container in ("mp4", "mov") else {"fflags": "+bitexact"}
        try:
            # An absolute path: FFmpeg would take "12:30.mp4" for a protocol named 12.
            self._container: Any = av.open(str(self._partial.absolute()), "w", format=container, options=options)
        except (OSError, av.error.FFmpegError) as error:
            raise OutputError(f"{path}: cannot be written ({error}). Choose another path.") from error
        self._clock = Clock(run, fps)
        # PyAV cannot state the pixels' shape in WebM: there pictures are stretched to square pixels.
        shape = run.source.sample_aspect_ratio
        self._stretch, self._shape = (shape, Fraction(1)) if container == "webm" else (Fraction(1), shape)
        self._stream: Any = None
        self._sound: SoundTrack | None = None
        self._with_sound = sound
        self._timecode: str | None = None

    def set_timecode(self, timecode: str) -> None:
        """Store the first frame's timecode (MOV and MP4); to be called before the first picture."""
        self._timecode = timecode

    def add(self, pixels: AnyArray, pixel_format: str, frame: Frame | float | None) -> None:
        """Encode one picture.

        Args:
            pixels: as ``av.VideoFrame.from_ndarray`` takes them.
            pixel_format: FFmpeg's name of their layout.
            frame: the frame, or its time in seconds, or None.
        """
        time = frame.time if isinstance(frame, Frame) else frame
        if self._stretch != 1:
            wide = max(2, round(pixels.shape[1] * self._stretch))
            pixels = np.asarray(cv2.resize(pixels, (wide, pixels.shape[0]), interpolation=cv2.INTER_LINEAR))
        height, width = pixels.shape[:2]
        if self._coding.even and (height % 2 or width % 2):
            rest = ((0, 0),) * (pixels.ndim - 2)
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), *rest), mode="edge")
        if self._stream is None:
            self._begin((pixels.shape[0], pixels.shape[1]), time)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=pixel_format)
        matrix = "ITU709" if height >= HD_LINES else "ITU601"
        picture = picture.reformat(format=self._coding.pixel_format, dst_colorspace=matrix, dst_color_range="MPEG")
        picture.pts, picture.time_base = self._clock.tick(time), self._clock.time_base
        with output_errors(self._path):
            self._container.mux(self._stream.encode(picture))
            if self._sound is not None:
                self._sound.copy_until(float(picture.pts * self._clock.time_base))

    def close(self) -> None:
        """Finish the file and give it its name."""
        with output_errors(self._path):
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            if self._sound is not None:
                self._sound.finish(self._clock.end)
            self._container.close()
        finish_partial(self._partial, self._path)

    def abort(self) -> None:
        """Remove the unfinished file."""
        try:
            if self._sound is not None:
                self._sound.close()
            self._container.close()
        except (OSError, av.error.FFmpegError, ValueError):
            pass  # an empty or half-written file may not close; it is removed all the same
        finally:
            discard_partial(self._partial)

    def _begin(self, size: Size, time: float | None) -> None:
        height, width = size
        if self._coding.codec == "libx264" and max(size) > MAX_H264_SIDE:
            raise OutputError(
                f"{self._path}: frames are {width}x{height}, H.264 has at most {MAX_H264_SIDE} pixels a side. "
                "Write another kind of output."
            )
        stream = self._container.add_stream(self._coding.codec, rate=self._clock.rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = self._coding.pixel_format
        stream.options = dict(self._coding.options)
        context = stream.codec_context
        context.time_base = self._clock.time_base
        context.sample_aspect_ratio = self._shape
        standard = _BT709 if height >= HD_LINES else _BT601
        context.colorspace = context.color_primaries = context.color_trc = standard
        context.color_range = _LIMITED_RANGE
        if self._timecode is not None:
            stream.metadata["timecode"] = self._timecode
        self._stream = stream
        if self._with_sound:
            self._sound = SoundTrack.of(self._run.source.location, self._container, time or 0.0)

"""The sound of a source, encoded again beside its frames: only the part that the frames last."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

logger = logging.getLogger("vos.writers")

MAX_GAP = 0.05
"""Seconds by which sound may be early after lost packets; a longer gap is filled with silence."""


class SoundTrack:
    """Copies sound into a container, in step with the pictures."""

    def __init__(self, source: Any, container: Any, start: float) -> None:
        """Start a sound track; ``SoundTrack.of`` opens the source.

        Args:
            source: an open container with sound, from ``start`` or before it on.
            container: the one that is written.
            start: the time in the source, in seconds, that is time 0 of the output.
        """
        self._source, self._container, self._start = source, container, start
        self._input = source.streams.audio[0]
        codec = "libopus" if "webm" in container.format.name else "aac"
        rate = 48_000 if codec == "libopus" else self._input.rate
        self._stream = container.add_stream(codec, rate=rate, layout="stereo" if self._input.channels > 1 else "mono")
        self._format = "flt" if codec == "libopus" else "fltp"
        self._layout = self._stream.codec_context.layout.name
        self._resampler = av.AudioResampler(format=self._format, layout=self._layout, rate=rate)
        self._rate = rate
        self._frames = self._decoded()
        self._next: Any = None
        self._done = 0
        self._begun = False

    @classmethod
    def of(cls, location: str, container: Any, start: float) -> SoundTrack | None:
        """Open the sound of a source; None, with a log line, if it has none.

        Args:
            location: the source's file.
            container: the one that is written.
            start: seconds from the source's first picture that are time 0 of the output.
        """
        source, begin = None, start
        with suppress(OSError, av.error.FFmpegError):
            if Path(location).is_file():
                begin += _time_of_first_picture(location)
                source = _open_at(location, begin)
        if source is None or not source.streams.audio:
            logger.warning("%s: no sound in it; the overlay has none.", location)
            if source is not None:
                source.close()
            return None
        return cls(source, container, begin)

    def copy_until(self, time: float) -> None:
        """Encode what sounds before a time of the output, in seconds."""
        while (frame := self._next or next(self._frames, None)) is not None:
            self._next = frame
            if self._done / self._rate >= time:
                return
            self._next = None
            frame.pts, self._done = self._done, self._done + frame.samples
            self._container.mux(self._stream.encode(frame))

    def finish(self, time: float) -> None:
        """Encode up to the end of the pictures, and flush."""
        self.copy_until(time)
        self._container.mux(self._stream.encode(None))
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _decoded(self) -> Iterator[Any]:
        """Decoded sound from the start on, in the encoder's format."""
        for frame in self._readable():
            if frame.time is not None and frame.time + frame.samples / frame.sample_rate <= self._start:
                continue
            if frame.time is not None:
                due = max(0, round((frame.time - self._start) * self._rate))
                if not self._begun:
                    self._begun, self._done = True, due
                if due - self._done > MAX_GAP * self._rate:
                    yield from self._silence(due - self._done)
            for ready in self._resampler.resample(frame):
                ready.time_base = Fraction(1, self._rate)
                yield ready

    def _silence(self, samples: int) -> Iterator[Any]:
        """Silence in the encoder's format, in frames of at most a second."""
        for begin in range(0, samples, self._rate):
            ready = av.AudioFrame(self._format, self._layout, min(self._rate, samples - begin))
            for plane in ready.planes:
                plane.update(bytes(plane.buffer_size))
            ready.sample_rate, ready.time_base = self._rate, Fraction(1, self._rate)
            yield ready

    def _readable(self) -> Iterator[Any]:
        """Decoded sound, without packets that are damaged, or cut by seeking into them, as in program streams."""
        for packet in self._source.demux(self._input):
            with suppress(av.error.FFmpegError):
                yield from packet.decode()


def _time_of_first_picture(path: str) -> float:
    """Seconds in the container's time at which a file's video track begins: 0 for most, 1.4 for transport streams."""
    with _open(path) as container:
        first = next(container.decode(container.streams.best("video")), None)
        return 0.0 if first is None else first.time or 0.0


def _open_at(path: str, start: float) -> Any:
    """Open a file at a time of its sound, in seconds; at its beginning where seeking fails, as in AC-3 of DVDs."""
    container = _open(path)
    if start <= 0 or not container.streams.audio:
        return container
    track = container.streams.audio[0]
    try:  # a second before, since the first frames have wrong times where seeking leads into a packet
        container.seek(int(max(start - 1, 0) / track.time_base), stream=track, backward=True)
    except av.error.FFmpegError:  # which leaves it anywhere
        container.close()
        return _open(path)
    return container


def _open(path: str) -> Any:
    return av.open(str(Path(path).absolute()), metadata_errors="replace")

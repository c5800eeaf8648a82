"""Decode exactly the frames that the index names, with PyAV, in any order and in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from vos.plugin import Image
from vos_sources.display_matrix import upright
from vos_sources.frame_index import FrameIndex
from vos_sources.packet_table import PacketTable

SKIP_AHEAD = 24
"""Packets from which on seeking forward is quicker than decoding what lies between."""

LANDING_PACKETS = 8
"""Packets looked at after a seek to learn where it led; the first ones may be incomplete."""

MAX_WAITING = 32
"""Decoded frames that may wait because the decoder shows them before the one asked for."""

DECODE_THREADS = min(os.cpu_count() or 1, 8)


class DecodeError(Exception):
    """A frame cannot be decoded; the text says why.

    Attributes:
        first_lost: ordinal of the first packet that cannot be decoded, or None where the decoder says nothing.
    """

    def __init__(self, message: str, first_lost: int | None = None) -> None:
        super().__init__(message)
        self.first_lost = first_lost


class PacketDecoder:
    """Decodes the packets of one track from a chosen ordinal on.

    Every packet carries its ordinal through the decoder in place of its presentation time, so that a decoded frame is
    known for certain, whatever its timestamps and the order of output are. (Decoders copy that time from the packet to
    its frame and do not read it. PyAV's ``opaque`` objects would need Python's lock in the decoder's threads, which
    hangs when a decoder with several threads is closed.)
    """

    def __init__(self, path: Path, packets: PacketTable | None = None) -> None:
        """Open the file; ``packets`` is needed to begin anywhere but at the start."""
        self._path = path
        self._packets = packets
        self._seeks = True
        self._sought = False
        self._container: Any = None
        self._open()

    @property
    def stream(self) -> Any:
        """The track, as PyAV has it."""
        return self._stream

    def use(self, packets: PacketTable) -> None:
        """Know the packets from now on."""
        self._packets = packets

    def close(self) -> None:
        """Release the file."""
        self._container.close()

    def decode(self, begin: int) -> Iterator[tuple[int, Any]]:
        """Decode from a packet to the end.

        Args:
            begin: ordinal of the first packet that is decoded.
        Yields:
            The ordinal of a frame's packet, and the frame, in the order in which the decoder shows them.
        Raises:
            DecodeError: a packet cannot be decoded; the frames before it came first.
        """
        failure: DecodeError | None = None
        ordinal = begin
        packets = self._packets_from(begin)
        while failure is None:
            try:
                ordinal, packet = next(packets)
                packet.pts = ordinal
                frames = self._stream.codec_context.decode(packet)
            except StopIteration:
                break
            except av.error.FFmpegError as error:
                failure = DecodeError(first_line(error), ordinal)
                break
            for frame in frames:
                self._refuse_incomplete(frame)
                yield _ordinal(frame), frame
        try:
            for frame in self._stream.codec_context.decode(None):
                if failure is None or _ordinal(frame) < ordinal:  # what depends on a damaged packet is not shown
                    self._refuse_incomplete(frame)
                    yield _ordinal(frame), frame
        except av.error.FFmpegError as error:
            failure = failure or DecodeError(first_line(error), ordinal)
        if failure is not None:
            raise failure

    def _refuse_incomplete(self, frame: Any) -> None:
        """Refuse the frame of the last packet if a part of it is guessed: the file ends within it."""
        if self._packets is not None and _ordinal(frame) == len(self._packets) - 1 and frame.is_corrupt:
            raise DecodeError("the last packet is incomplete", _ordinal(frame))

    def _open(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = av.open(address_of(self._path), metadata_errors="replace")
        self._is_at_start = True
        self._stream = self._container.streams.best("video")
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = DECODE_THREADS

    def _packets_from(self, begin: int) -> Iterator[tuple[int, Any]]:
        """Packets that hold data, from an ordinal on, each with its ordinal."""
        limit = None if self._packets is None else len(self._packets)
        demuxed, ordinal = self._demux_from(begin)
        for packet in demuxed:
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue
            if ordinal == limit:
                return
            if self._sought and self._packets is not None and not self._packets.is_row(ordinal, packet):
                self._seeks = False
                raise DecodeError("other packets come after a seek than in file order")
            if ordinal >= begin and packet.size:
                yield ordinal, packet
            ordinal += 1

    def _demux_from(self, begin: int) -> tuple[Iterator[Any], int]:
        """Read from a packet at or before ``begin``; where seeking leads elsewhere, from the start of the file."""
        if begin > 0 and self._seeks and self._packets is not None:
            landed = self._seek(begin)
            if landed is not None:
                self._sought = True
                self._is_at_start = False
                return landed
            self._seeks = self._is_at_start = False
        if not self._is_at_start:
            self._open()
        self._is_at_start = self._sought = False
        return self._container.demux(self._stream), 0

    def _seek(self, begin: int) -> tuple[Iterator[Any], int] | None:
        """Seek, and learn from the packets that come where that led; None if it is unknown or behind ``begin``."""
        assert self._packets is not None, "the caller knows"
        times = [t for t in (int(self._packets.dts[begin]), int(self._packets.pts[begin])) if t > -(1 << 62)]
        if not times:
            return None
        try:
            self._container.seek(min(times), stream=self._stream, backward=True)
            demuxed = self._container.demux(self._stream)
            first: list[Any] = []
            for packet in demuxed:
                first.append(packet)
                ordinal = self._packets.ordinal_of(packet) if packet.size else None
                if ordinal is not None:
                    return (_chain(first[-1:], demuxed), ordinal) if ordinal <= begin else None
                if len(first) == LANDING_PACKETS:
                    return None
        except av.error.FFmpegError:
            return None
        return None


class PyAvReader:
    """Reads frames by index; quickest in ascending order."""

    def __init__(
        self, decoder: PacketDecoder, index: FrameIndex, start: Iterator[tuple[int, Any]] | None = None
    ) -> None:
        """Read from an open decoder.

        Args:
            decoder: of the file.
            index: its frames.
            start: a pass from the beginning of which nothing was used yet, to go on with.
        """
        self._decoder = decoder
        self._index = index
        self._pass = start
        self._begin = 0
        self._shown = -1
        self._fed = 0
        self._waiting: dict[int, Any] = {}
        self._entry_of: Callable[[int], int] = index.entry_before
        self._converter = VideoReformatter()

    def read(self, frame: int) -> Image:
        """Decode a frame: uint8 (H, W, 3) RGB, as a player shows it.

        Raises:
            DecodeError: it cannot be decoded.
        """
        return self._to_rgb(self._read(frame))

    def peek(self) -> Any:
        """The decoded first frame, which stays to be read."""
        self._waiting[0] = self._read(0)
        return self._waiting[0]

    def close(self) -> None:
        """Release the file."""
        self._pass = None
        self._waiting.clear()
        self._decoder.close()

    def _read(self, frame: int) -> Any:
        entry = self._entry_of(frame)
        waiting = self._waiting.pop(frame, None)
        if waiting is not None:
            return waiting
        if self._pass is None or frame <= self._shown or entry - self._fed > SKIP_AHEAD:
            self._restart(entry)
        # Where an entry was none after all, what the frame needs lies before it.
        before = self._index.entries[self._index.entries < self._begin]
        for earlier in (int(before[-1]) if len(before) else 0, 0):
            try:
                return self._advance(frame)
            except DecodeError:
                if self._begin == 0:
                    raise
                self._restart(earlier)
        return self._advance(frame)

    def _to_rgb(self, frame: Any) -> Image:
        """A decoded frame as uint8 (H, W, 3) RGB, turned and mirrored as its display matrix says."""
        # One converter for all frames, on one thread: setting one up for a frame takes longer than converting it.
        pixels = np.asarray(self._converter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)
        return np.ascontiguousarray(upright(pixels, frame))

    def _restart(self, entry: int) -> None:
        self._waiting.clear()
        self._begin, self._fed = entry, entry
        self._shown = int(self._index.frame_of_packet[entry]) - 1 if entry else -1
        self._pass = self._decoder.decode(entry)

    def _advance(self, frame: int) -> Any:
        assert self._pass is not None, "a pass has begun"
        try:
            for ordinal, decoded in self._pass:
                self._fed = max(self._fed, ordinal)
                if ordinal == self._begin and ordinal and not (decoded.key_frame or decoded.pict_type == PictureType.I):
                    self._entry_of = lambda frame: 0  # AVI may mark every packet as a key frame
                    raise DecodeError("the container marks frames as key frames that are none")
                shown = int(self._index.frame_of_packet[ordinal])
                if shown == frame:
                    self._shown = max(self._shown, frame)
                    return decoded
                if shown > frame:
                    self._waiting[shown] = decoded
                    if len(self._waiting) > MAX_WAITING:
                        break
                else:
                    self._shown = max(self._shown, shown)
        except DecodeError:
            self._pass = None
            raise
        self._pass = None
        raise DecodeError("the decoder leaves it out")


def address_of(path: Path) -> str:
    """A file's path as FFmpeg takes it: absolute, since "12:30.mp4" would be a protocol named 12."""
    return str(path.absolute())


def first_line(error: BaseException) -> str:
    """The reason of a library's error without its numbers and file names."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0][:120]


def _ordinal(frame: Any) -> int:
    assert frame.pts is not None, "a frame carries its packet's ordinal"
    return int(frame.pts)


def _chain(first: list[Any], rest: Iterator[Any]) -> Iterator[Any]:
    yield from first
    yield from rest

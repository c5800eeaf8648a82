"""The packets of a video track in file order: what the index of frames and exact seeking are built from."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vos_sources.display_numbers import RAW_STREAMS, DisplayNumbers
from vos_sources.packet_content import PacketContent

NO_TIME = -(1 << 63)
"""Stands for a timestamp or a position that a packet does not have."""


@dataclass(frozen=True)
class PacketTable:
    """Packets in file order, which is decoding order; a packet's row is its ordinal.

    Attributes:
        pts: int64 (P,), presentation time in units of the track's time base, or ``NO_TIME``.
        dts: int64 (P,), decoding time likewise.
        position: int64 (P,), byte in the file, or ``NO_TIME``.
        size: int64 (P,), bytes.
        entry: bool (P,), decoding may begin here: all frames shown from this one on are exact.
        shown: bool (P,), the packet's frame is shown: no edit list cuts it off, and it is no hidden reference.
        one_frame_each: False where a packet holds several frames or none, so that only decoding tells.
        error: why reading stopped before the end of the file, or None.
        display: int64 (P, 2), group and number in the order of display of a raw stream's frames; None elsewhere, and
            where its headers do not tell.
    """

    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    position: NDArray[np.int64]
    size: NDArray[np.int64]
    entry: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    one_frame_each: bool
    error: str | None
    display: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.pts)

    def ordinal_of(self, packet: Any) -> int | None:
        """The row of a packet that was read after a seek; None if it is not known, or not the only one like it."""
        found = np.flatnonzero(
            (self.size == packet.size) & (self.pts == _or(packet.pts)) & (self.position == _or(packet.pos))
        )
        return int(found[0]) if len(found) == 1 else None

    def is_row(self, ordinal: int, packet: Any) -> bool:
        """True if a demuxed packet has the size and time of row ``ordinal``."""
        return (
            ordinal < len(self) and int(self.size[ordinal]) == packet.size and int(self.pts[ordinal]) == _or(packet.pts)
        )


def read_packet_table(container: Any, stream: Any) -> PacketTable:
    """Read all packets of a track without decoding them.

    Args:
        container: an open PyAV container at its beginning.
        stream: its video track.
    Returns:
        The packets; those that end in the middle because the file does are left out.
    """
    columns = [array("q") for _ in range(4)]
    entry, shown = bytearray(), bytearray()
    content = PacketContent(stream.codec_context)
    is_raw, display = container.format.name in RAW_STREAMS, array("q")
    numbers = DisplayNumbers(stream.codec_context.name if is_raw else "")
    one_frame_each, error = True, None
    marked = incomplete = False
    try:
        for packet in container.demux(stream):
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue  # PyAV's mark of the end
            if packet.is_corrupt and not _is_whole(container):
                error = "the last packet is incomplete"
                break
            has_end_mark = content.has_end_mark(packet) if packet.size else None
            marked |= has_end_mark is True
            incomplete = marked and has_end_mark is False
            values = (_or(packet.pts), _or(packet.dts), _or(packet.pos), packet.size)
            for column, value in zip(columns, values, strict=True):
                column.append(value)
            if is_raw:
                found = numbers.of(packet)
                is_raw = found is not None
                display.extend((found.group, found.number) if found else ())
            frames = content.shown_frames(packet) if packet.size else 0
            one_frame_each &= frames <= 1
            shown.append(frames > 0 and not packet.is_discard)
            entry.append(packet.is_keyframe and packet.size > 0 and content.is_random_access_point(packet))
    except av.error.FFmpegError as failure:
        error = failure.strerror or str(failure)
    if incomplete:
        error = "the last packet is incomplete"
        del entry[-1], shown[-1]
        for column in columns:
            del column[-1]
    pts, dts, position, size = (np.array(column, dtype=np.int64) for column in columns)
    return PacketTable(
        pts,
        dts,
        position,
        size,
        np.frombuffer(bytes(entry), dtype=np.bool_),
        np.frombuffer(bytes(shown), dtype=np.bool_),
        one_frame_each,
        error,
        np.array(display, np.int64).reshape(-1, 2)[: len(pts)] if is_raw and one_frame_each else None,
    )


def _is_whole(container: Any) -> bool:
    """Transport streams mark packets after a lost one as corrupt; elsewhere the mark says that the file ends there."""
    return container.format.name in ("mpegts", "hls", "rtp")


def _or(value: int | None) -> int:
    return NO_TIME if value is None else value

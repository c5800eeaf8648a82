"""The index of a video's frames: which packet holds frame k, and when frame k is shown.

Frame k is the k-th frame in the order in which ffmpeg shows the file: edit lists apply, hidden packets do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from vos_sources.packet_table import NO_TIME, PacketTable

MAX_REORDERING = 32
"""Packets by which decoding and showing may differ: 16 frames of H.264's buffer, in two fields each."""

MIN_STEPS = 8
"""Frames from which the usual step between two is learned."""


@dataclass(frozen=True)
class FrameIndex:
    """Frames in the order in which they are shown.

    Attributes:
        packets: the track's packets.
        packet_of_frame: int64 (N,), ordinal of the packet that holds frame k.
        pts: int64 (N,), strictly ascending presentation times, or None where the file has none that are true.
        time_base: seconds per unit of ``pts``.
    """

    packets: PacketTable
    packet_of_frame: NDArray[np.int64]
    pts: NDArray[np.int64] | None
    time_base: Fraction

    @cached_property
    def frame_of_packet(self) -> NDArray[np.int64]:
        """int64 (P,): which frame a packet holds, -1 where it shows none."""
        frames = np.full(len(self.packets), -1, np.int64)
        frames[self.packet_of_frame] = np.arange(len(self))
        return frames

    @cached_property
    def entries(self) -> NDArray[np.int64]:
        """Ordinals of the packets at which decoding may begin, ascending."""
        return np.flatnonzero(self.packets.entry & (self.frame_of_packet >= 0))

    def __len__(self) -> int:
        return len(self.packet_of_frame)

    def time(self, frame: int) -> float | None:
        """Seconds from the first frame to frame k, or None."""
        return None if self.pts is None else float(int(self.pts[frame] - self.pts[0]) * self.time_base)

    def entry_before(self, frame: int) -> int:
        """The last packet from which decoding gives frame k exactly; 0 is the beginning of the file.

        Frames that are decoded after an entry but shown before it (open GOPs) need packets before the entry.
        """
        at = int(np.searchsorted(self.entries, self.packet_of_frame[frame], side="right")) - 1
        while at >= 0 and self.frame_of_packet[self.entries[at]] > frame:
            at -= 1
        return int(self.entries[at]) if at >= 0 else 0

    def rate(self, stated: Fraction | None) -> float | None:
        """Mean frames per second: what the track states where its frames agree, else what they give."""
        if self.pts is None or len(self) < 2:
            return None if self.pts is None or not stated else float(stated)
        span = float(int(self.pts[-1] - self.pts[0]) * self.time_base)
        mean = (len(self) - 1) / span
        tolerance = max(0.002, 2 * float(self.time_base) / span)
        return float(stated) if stated and abs(float(stated) / mean - 1) <= tolerance else mean

    def with_constant_rate(self) -> FrameIndex:
        """Derive times from decoding times of a constant step, as in AVI; else times stay unknown."""
        dts = self.packets.dts[self.packets.shown]
        steps = np.diff(dts)
        constant = len(dts) == len(self) > 1 and dts.min() != NO_TIME and 0 < steps.min() >= steps.max() - 1
        return replace(self, pts=dts if constant else None)

    def without_end_after_gap(self, stated: Fraction | None) -> FrameIndex:
        """Remove the frames after a gap near the end of a file that is cut short.

        B frames come after the frames that they are shown before, so that the last frame shown may be one whose
        predecessors were cut off.

        Args:
            stated: frames per second; used where there are too few frames to learn the usual step from.
        """
        if self.pts is None or len(self) < 2:
            return self
        steps = np.diff(self.pts)
        usual = (
            float(np.median(steps)) if len(steps) >= MIN_STEPS or not stated else float(1 / (stated * self.time_base))
        )
        tail = max(len(steps) - MAX_REORDERING, 0)
        holes = np.flatnonzero(steps[tail:] > 1.6 * usual)
        return self.first(tail + int(holes[0]) + 1) if len(holes) else self

    def without_open_end(self) -> FrameIndex:
        """Remove the last frames of a cut file without presentation times, if it has B frames.

        The last reference frame may be shown behind B frames that are cut off; nothing says how many they were.
        """
        rank = np.argsort(np.argsort(self.packet_of_frame))
        if (np.diff(rank) > 0).all():
            return self
        closed = np.flatnonzero(np.maximum.accumulate(rank) == np.arange(len(rank)))  # all packets up to here are shown
        return self.first(int(closed[-2]) + 1) if len(closed) > 1 else self.first(1)

    def ends_after_gap(self, stated: Fraction | None) -> bool:
        """Test whether frames are missing before the last ones, in a file with B frames and a constant frame rate.

        Args:
            stated: as for ``without_end_after_gap``.
        """
        if self.pts is None or (np.diff(self.packet_of_frame) > 0).all():
            return False
        kept = self.without_end_after_gap(stated)
        if kept.pts is None or len(kept) == len(self) or len(kept) < MIN_STEPS:
            return False
        steps = np.diff(kept.pts)
        return bool(np.abs(steps - np.median(steps)).max() <= 0.1 * np.median(steps))

    def count_before_gap(self) -> int | None:
        """Number of frames before a gap that ends a raw stream with B frames; None if it ends without one.

        A stream is judged only where its display numbers have one step everywhere else, and where each group behind the
        first begins with the same number. Cut B frames leave no gap of more frames than decoding and showing differ by;
        MPEG-4 numbers are times, and a longer gap is a pause.
        """
        display = self.packets.display
        if display is None or (np.diff(self.packet_of_frame) > 0).all():
            return None
        group, number = display[self.packet_of_frame].T
        inside, steps = np.diff(group) == 0, np.diff(number)
        if (np.diff(group) < 0).any() or inside.sum() < MIN_STEPS or (steps[inside] <= 0).any():
            return None
        usual = np.median(steps[inside])
        holes = np.flatnonzero(inside & (steps != usual))
        begins = np.flatnonzero(~inside) + 1
        last = int(begins[-1]) if len(begins) else 0
        if len(begins) > 1 and number[last] > number[begins[0]] and len(set(number[begins[:-1]])) == 1:
            return last if not len(holes) or holes[0] >= last else None
        if not len(holes) or holes[0] < max(last, len(steps) - MAX_REORDERING):
            return None
        missing = steps[holes] / usual - 1
        reordering = np.abs(np.argsort(np.argsort(self.packet_of_frame)) - np.arange(len(self))).max()
        return int(holes[0]) + 1 if (missing % 1 == 0).all() and 0 < missing.max() <= reordering + 1 else None

    def first(self, count: int) -> FrameIndex:
        """The index of the first ``count`` frames."""
        pts = None if self.pts is None else self.pts[:count]
        return replace(self, packet_of_frame=self.packet_of_frame[:count], pts=pts)

    def from_frame(self, frame: int) -> FrameIndex:
        """The index without the frames before ``frame``."""
        pts = None if self.pts is None else self.pts[frame:]
        return replace(self, packet_of_frame=self.packet_of_frame[frame:], pts=pts)


def index_by_timestamps(packets: PacketTable, time_base: Fraction) -> FrameIndex | None:
    """Index the frames by their packets' presentation times, without decoding.

    Args:
        packets: the track's packets.
        time_base: of their timestamps.
    Returns:
        The index, or None where the timestamps do not tell which frames there are and in which order.
    """
    shown = np.flatnonzero(packets.shown)
    pts, dts = packets.pts[shown], packets.dts[packets.dts != NO_TIME]
    if not packets.one_frame_each or not len(shown) or (pts == NO_TIME).any() or (np.diff(dts) < 0).any():
        return None
    order = np.argsort(pts, kind="stable")
    if (np.diff(pts[order]) <= 0).any() or np.abs(order - np.arange(len(order))).max() > MAX_REORDERING:
        return None
    return FrameIndex(packets, shown[order], pts[order], time_base)


def index_by_decoding(packets: PacketTable, decoded: Iterable[int], time_base: Fraction) -> FrameIndex:
    """Index the frames by decoding all of them once; for files whose packets do not tell.

    Args:
        packets: the track's packets.
        decoded: ordinals of the frames, in the order in which the decoder shows them, from the beginning.
        time_base: of the packets' timestamps.
    Returns:
        The index; ``pts`` is None unless every frame has a time after the one before.
    """
    ordinals = np.array([ordinal for ordinal, _ in groupby(decoded)], dtype=np.int64)
    pts = packets.pts[ordinals]
    has_times = len(pts) > 0 and pts.min() != NO_TIME and bool((np.diff(pts) > 0).all())
    return FrameIndex(packets, ordinals, pts if has_times else None, time_base)


def agreement(index: FrameIndex, decoded: Sequence[int]) -> FrameIndex | None:
    """Check an index by the first frames that the decoder shows.

    A file that begins in the middle of a group of pictures has packets at its start that nothing can decode; they are
    left out.

    Args:
        index: by timestamps.
        decoded: ordinals of the first frames, in the order shown.
    Returns:
        The index, perhaps without its first frames; None where the decoder shows other frames.
    """
    if not decoded:
        return None
    first = int(index.frame_of_packet[decoded[0]])
    if first < 0 or first > MAX_REORDERING * 8:
        return None
    expected = index.packet_of_frame[first : first + len(decoded)]
    if list(expected) != list(decoded):
        return None
    return index if first == 0 else index.from_frame(first)

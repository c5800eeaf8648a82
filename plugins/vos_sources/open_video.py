"""Open a video file: find its track, index its frames, and learn whether all of it is there."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from vos.plugin import SourceError
from vos_sources.display_matrix import swaps_axes
from vos_sources.file_ends import is_cut_short
from vos_sources.frame_index import FrameIndex, agreement, index_by_decoding, index_by_timestamps
from vos_sources.packet_table import PacketTable, read_packet_table
from vos_sources.pyav_reader import DecodeError, PacketDecoder, PyAvReader, address_of, first_line

logger = logging.getLogger("vos.sources")

PROBED_FRAMES = 8
"""Frames decoded at the start to check the index; the reader goes on with them, so that they are decoded once."""

MAX_RATE = 1000.0
"""Frames per second above which a stated rate is a clock's (90,000 in transport streams), not a camera's."""


_STATE_NOTHING = frozenset({"mpegts", "mpeg", "nut"})
"""Containers that state neither bytes nor seconds."""
_CONSTANT_RATE = frozenset({"mxf", "mxf_opatom", "ivf"})
_STATE_SECONDS = frozenset({"flv", "live_flv"}) | _CONSTANT_RATE
"""Containers whose header states seconds, but no size in bytes."""
_KEEPS_INCOMPLETE = frozenset({"mpegts", "gif", "asf", "mpeg", "nut", "dv"})
"""Containers whose last packet comes even if a part of it is missing."""


@dataclass(frozen=True)
class OpenVideo:
    """A video that is open for reading.

    Attributes:
        reader: decodes its frames.
        index: the frames that the file holds.
        frame_count: how many the file has or, cut short, says or seems to have had.
        length: the same for people: ``"30"``, ``"about 30"``, or empty where nothing says how many there were.
        fps: mean frames per second of the track that is read, or None.
        sample_aspect_ratio: of the frames as shown; None if it is not stated.
    """

    reader: PyAvReader
    index: FrameIndex
    frame_count: int
    length: str
    fps: float | None
    sample_aspect_ratio: Fraction | None

    def first_lost_frame(self, frame: int, error: DecodeError) -> int:
        """The first frame that cannot be read, where reading ``frame`` failed."""
        if error.first_lost is None:
            return frame
        lost = self.index.frame_of_packet[error.first_lost :]
        lost = lost[lost >= 0]
        return min(int(lost.min()), frame) if len(lost) else frame


def open_video(path: Path) -> OpenVideo:
    """Open a video file and index its frames.

    Args:
        path: the file.
    Returns:
        What is needed to read it.
    Raises:
        SourceError: empty, not a file, not a video, or nothing of it can be decoded.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{path}: not a regular file, so its frames cannot be read in any order. Copy it to a file.")
    if status.st_size == 0:
        raise SourceError(f"{path}: the file is empty (0 bytes).")
    try:
        with av.open(address_of(path), metadata_errors="replace") as container:
            track = _Track.of(path, container)
        decoder = PacketDecoder(path)
    except av.error.PermissionError as error:
        raise SourceError(f"{path}: cannot be read ({first_line(error)}).") from error
    except av.error.FFmpegError as error:
        raise SourceError(
            f"{path}: cannot be opened as a video ({first_line(error)}). It is damaged, cut short, or no video."
        ) from error
    decoder.use(track.packets)
    try:
        index, start, error_at = _index(path, track, decoder)
        return _describe(path, track, decoder, index, start, error_at)
    except BaseException:
        decoder.close()
        raise


@dataclass(frozen=True)
class _Track:
    """Video track of a file: its packets and what the container states of it."""

    packets: PacketTable
    container: str
    time_base: Fraction
    stated_frames: int
    stated_rate: Fraction | None
    coded_rate: Fraction | None
    stated_seconds: float | None

    @classmethod
    def of(cls, path: Path, container: Any) -> _Track:
        stream = container.streams.best("video")
        if stream is None or _is_cover(stream):
            held = {"a cover picture" if _is_cover(other) else other.type for other in container.streams}
            raise SourceError(f"{path}: no video track in it (it has {', '.join(sorted(held)) or 'no track'}).")
        if stream.codec_context is None:
            raise SourceError(f"{path}: its video codec is not known here. Convert it to H.264 with ffmpeg.")
        seconds = None
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None and len(container.streams) == 1:
            seconds = container.duration / av.time_base
        return cls(
            packets=read_packet_table(container, stream),
            container=container.format.name,
            time_base=stream.time_base,
            stated_frames=stream.frames,
            stated_rate=stream.average_rate,
            coded_rate=stream.codec_context.framerate,
            stated_seconds=seconds,
        )


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _index(
    path: Path, track: _Track, decoder: PacketDecoder
) -> tuple[FrameIndex, Iterator[tuple[int, Any]] | None, int | None]:
    """Index by timestamps where the first frames confirm it, else by decoding all.

    Returns:
        The index; a pass from the start that the reader can go on with, or None; the ordinal of the first packet whose
        frame is not in the index because it cannot be decoded, or None.
    """
    index = index_by_timestamps(track.packets, track.time_base)
    if index is not None:
        running = decoder.decode(0)
        try:
            probed = list(islice(running, PROBED_FRAMES))
        except DecodeError:
            return index, None, None  # reading will tell
        confirmed = agreement(index, [ordinal for ordinal, _ in probed])
        if confirmed is not None:
            return confirmed, chain(probed, running), None
    logger.debug("%s: its packets do not tell its frames; all are decoded once.", path)
    failures: list[DecodeError] = []
    index = index_by_decoding(track.packets, _ordinals(decoder.decode(0), failures), track.time_base)
    lost = np.setdiff1d(np.flatnonzero(track.packets.shown), index.packet_of_frame)
    # Where packets hold one field each, others show nothing too.
    only_last = index.pts is None and list(lost) == [len(track.packets) - 1]
    return index, None, failures[0].first_lost if failures else int(lost[0]) if only_last else None


def _ordinals(decoded: Iterator[tuple[int, Any]], failures: list[DecodeError]) -> Iterator[int]:
    """The packets of frames that are decoded, up to an error, which is kept."""
    try:
        yield from (ordinal for ordinal, _ in decoded)
    except DecodeError as error:
        failures.append(error)


def _describe(
    path: Path,
    track: _Track,
    decoder: PacketDecoder,
    index: FrameIndex,
    start: Iterator[tuple[int, Any]] | None,
    error_at: int | None,
) -> OpenVideo:
    if not len(index):
        reason = track.packets.error or "the decoder shows nothing"
        raise SourceError(f"{path}: no frame can be decoded ({reason}). Convert it to H.264 with ffmpeg.")
    if index.pts is None or track.container == "avi":  # AVI has decoding times alone; the others are guessed
        index = index.with_constant_rate()
    rate = index.rate(track.stated_rate) if index.pts is not None else _plausible(track.coded_rate)
    cut = (
        track.packets.error is not None
        or is_cut_short(path, track.container)
        or _is_shorter(index, track, rate)
        or _has_partial_frame(path, track)
        or index.count_before_gap() is not None
    )
    whole = len(index)
    length = str(whole)
    if cut:
        index = _good_part(index, track)
        stated = track.stated_frames - int((~track.packets.shown).sum())
        timed = round(track.stated_seconds * rate) if rate and track.stated_seconds else 0
        whole = max(len(index) + 1, stated, timed)
        length = str(whole) if whole == stated else f"about {whole}" if whole == timed else ""
    elif error_at is not None:
        index = index.without_open_end() if index.pts is None else index.without_end_after_gap(track.stated_rate)
        whole = max(len(index) + 1, int(track.packets.shown.sum()))
        length = str(whole)
    reader = PyAvReader(decoder, index, start)
    return OpenVideo(
        reader=reader,
        index=index,
        frame_count=whole,
        length=length,
        fps=rate if rate and 0 < rate <= MAX_RATE else None,
        sample_aspect_ratio=_aspect(decoder, reader),
    )


def _good_part(index: FrameIndex, track: _Track) -> FrameIndex:
    """The frames of a file that is cut short which are whole, and follow each other without a hole."""
    before_gap = index.count_before_gap()
    if before_gap is not None:
        last = int(index.frame_of_packet[index.packet_of_frame.max()])  # the cut may lie within it
        return index.first(max(min(before_gap, last), 1))
    if track.container in ("mxf", "mxf_opatom") and len(index.entries):
        # The times of an MXF file are in its end: without it, the order of the last group's B frames is not known.
        last_group = index.frame_of_packet[index.entries[-1] :]
        return index.first(max(int(last_group[last_group >= 0].min()), 1))
    if track.container in _KEEPS_INCOMPLETE and len(index) > 1:
        last = int(index.frame_of_packet[index.packet_of_frame.max()])
        index = index.first(max(last, 1))
    if index.pts is None or track.container == "avi":
        return index.without_open_end()
    return index.without_end_after_gap(track.stated_rate)


def _is_shorter(index: FrameIndex, track: _Track, rate: float | None) -> bool:
    """True if the header states a longer duration than the frames have; for containers that state no size in bytes.

    Containers that state no duration either are judged by a gap before the last frames, which cut B frames leave.
    """
    if index.pts is None or rate is None:
        return False
    if track.container in _STATE_NOTHING:
        return index.ends_after_gap(track.stated_rate)
    if track.stated_seconds is None or track.container not in _STATE_SECONDS:
        return False
    seconds = float(int(index.pts[-1] - index.pts[0]) * index.time_base) + 1 / rate
    tolerance = 1.5 / rate if track.container in _CONSTANT_RATE else max(3 / rate, 0.02 * track.stated_seconds)
    return track.stated_seconds - seconds > tolerance


def _has_partial_frame(path: Path, track: _Track) -> bool:
    """True if the file ends within a frame, or a partial frame follows the last one; for frames all of one size."""
    size = path.stat().st_size
    if track.container == "dv":
        return bool(track.packets.position[-1] + track.packets.size[-1] > size)
    if track.container != "yuv4mpegpipe":
        return False
    position = track.packets.position
    step = int(position[1] - position[0]) if len(position) > 1 else len(b"FRAME\n") + int(track.packets.size[0])
    return int(position[-1]) + step < size


def _plausible(rate: Fraction | None) -> float | None:
    return float(rate) if rate and 0 < rate <= MAX_RATE else None


def _aspect(decoder: PacketDecoder, reader: PyAvReader) -> Fraction | None:
    ratio: Fraction | None = decoder.stream.sample_aspect_ratio
    if not ratio:
        return None
    try:
        turned = swaps_axes(reader.peek())
    except DecodeError:
        return None
    return 1 / ratio if turned else ratio

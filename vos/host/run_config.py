"""Settings of a run, shared by ``stream``, ``track`` and the command line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vos.errors import OptionError
from vos.host.tracker_making import GivenTracker
from vos.types.runtime import Runtime
from vos.types.whole_numbers import whole_number

logger = logging.getLogger(__name__)

DEFAULT_TRACKER = "propagation"
DEFAULT_WRITER = "davis"
UNKNOWN_LENGTH = 1 << 40
"""Stands for the number of frames of a source that has no length."""


@dataclass(frozen=True)
class RunConfig:
    """Settings of one run.

    Attributes:
        tracker: a tracker's name, a tracker, or one of ``make_tracker``, kept for several runs in turn.
        options: the tracker's options: values by name, a ready options object, or None.
        runtime: device, precision, threads, seed.
        both_ways: track backward too, each object from its annotations.
        start: index of the first frame.
        stop: index after the last frame, or None for all.
        step: take every ``step``-th frame.
        max_side: the tracker sees frames at most this long, pixels; None for their own size.
        allow_truncated: end with a warning where a damaged source ends.
        ends: frame index from which on an object is no more, by object id.
        from_frame: an annotated frame; those before it keep the masks of the earlier run in the output folder.
    """

    tracker: GivenTracker = DEFAULT_TRACKER
    options: Mapping[str, Any] | Any | None = None
    runtime: Runtime = field(default_factory=Runtime)
    both_ways: bool = False
    start: int = 0
    stop: int | None = None
    step: int = 1
    max_side: int | None = None
    allow_truncated: bool = False
    ends: Mapping[int, int] = field(default_factory=dict)
    from_frame: int | None = None

    def __post_init__(self) -> None:
        for name in ("start", "stop", "step", "max_side", "from_frame"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole_number(value, name, OptionError))
        if not isinstance(self.ends, Mapping):
            raise OptionError(f"ends is {self.ends!r}, expected frame indices by object id, such as {{1: 40}}.")
        ids = [whole_number(i, "an object id of ends", OptionError) for i in self.ends]
        frames = [whole_number(end, "a frame index of ends", OptionError) for end in self.ends.values()]
        object.__setattr__(self, "ends", dict(zip(ids, frames, strict=True)))
        if self.max_side is not None and self.max_side < 1:
            raise OptionError(f"--max-side is {self.max_side}, expected 1 pixel or more.")
        if self.step < 1 or self.start < 0:
            raise OptionError(f"--start is {self.start} and --step {self.step}, expected 0 or more and 1 or more.")

    def frame_indices(self, frame_count: int | None, location: str) -> range:
        """List the frames to track.

        Args:
            frame_count: the source's number of frames, or None where it has no length.
            location: the source, for the message.
        Returns:
            Frame indices, ascending, at least one.
        Raises:
            OptionError: no frame lies between ``start`` and ``stop``.
        """
        end = UNKNOWN_LENGTH if frame_count is None else frame_count
        if self.stop is not None:
            end = min(end, self.stop)
        if self.start >= end:
            has = "no known length" if frame_count is None else f"{frame_count} frames"
            between = f"between --start {self.start} and --stop {self.stop}"
            part = f"from --start {self.start} on" if self.stop is None else between
            raise OptionError(f"{location}: no frame {part}; the source has {has}.")
        if self.stop is not None and self.stop > end:
            logger.info("%s: ends before --stop %d: its last frame is %d.", location, self.stop, end - 1)
        return range(self.start, end, self.step)

    def selection(self) -> dict[str, Any]:
        """Describe which frames are tracked, and how large, for ``run.json``: only what differs from the defaults."""
        given = {
            "start": (self.start, 0),
            "stop": (self.stop, None),
            "step": (self.step, 1),
            "max_side": (self.max_side, None),
            "from": (self.from_frame, None),
        }
        chosen = {name: value for name, (value, default) in given.items() if value is not None and value != default}
        return chosen | ({"ends": {str(i): frame for i, frame in sorted(self.ends.items())}} if self.ends else {})

    def check_ends(self, first_frames: Mapping[int, int], frame_count: int | None) -> None:
        """Refuse an end of an object that no annotation has, at a negative index, or before the object begins.

        An end behind the last frame is a warning.

        Args:
            first_frames: by object id, the index of the first annotation that has it.
            frame_count: the source's number of frames, or None where it has no length.
        Raises:
            OptionError: the object is not there, the index is negative, or the end has no effect.
        """
        for object_id, frame in self.ends.items():
            if frame < 0:
                raise OptionError(f"--end {object_id}@{frame}: expected a frame index of 0 or more.")
            if object_id not in first_frames:
                has = ", ".join(map(str, sorted(first_frames)))
                raise OptionError(f"--end {object_id}@{frame}: no mask has object {object_id}. There are: {has}.")
            first = first_frames[object_id]
            if frame <= first and not self.both_ways:
                raise OptionError(
                    f"--end {object_id}@{frame}: object {object_id} begins with its mask of frame {first}. "
                    "Give a later frame, or leave the object out of the masks."
                )
            if frame_count is not None and frame >= frame_count:
                logger.warning(
                    "--end %d@%d has no effect: the last of the %d frames has index %d.",
                    object_id,
                    frame,
                    frame_count,
                    frame_count - 1,
                )

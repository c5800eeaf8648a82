"""Write a session's label maps with the writers that ``vos track`` has, by replaying them as a tracker's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vos.plugin import (
    Annotation,
    Frame,
    InputError,
    LabelMap,
    Plugins,
    Prediction,
    VosError,
    object_ids,
    track,
)
from vos_web.sessions.known_frames import KnownFrames, object_gaps, unknown_frames
from vos_web.sessions.presence import ABSENT, SURE
from vos_web.sessions.session import Session, keep_ids
from vos_web.sessions.video import open_video

Progress = Callable[[int, int], bool]


class _StoppedError(VosError):
    """The person stopped the export."""


@dataclass(frozen=True)
class Exported:
    """Outcome of an export.

    Attributes:
        folder: where the results are.
        left_out: indices of the frames without results: nobody annotated or tracked them.
        gaps: objects that nobody annotated or tracked in some of the other frames, where they are missing: the name,
            the number of these frames and the first one.
    """

    folder: Path
    left_out: list[int]
    gaps: list[tuple[str, int, int]]


class ReplayTracker:
    """Answers each frame with the session's label map."""

    def __init__(self, session: Session, frame_count: int, progress: Progress) -> None:
        """Answer nothing yet.

        Args:
            session: its label maps.
            frame_count: number of frames to answer.
            progress: told of frames done and of all frames; False stops.
        """
        self._session = session
        self._frame_count = frame_count
        self._progress = progress
        self._done = 1
        self._ids: list[int] = []

    def start(self, frame: Frame, label_map: LabelMap) -> None:
        """Start; the label map is the session's own, so that nothing is tracked."""
        self._ids = list(object_ids(label_map))

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Accept an annotation; masks are the session's own, so that nothing is tracked."""
        self._ids = sorted({*self._ids, *object_ids(label_map)})

    def step(self, frame: Frame) -> Prediction:
        """Read the frame's label map."""
        self._done += 1
        if not self._progress(min(self._done, self._frame_count), self._frame_count):
            raise _StoppedError("the export was stopped.")
        label_map = self._session.mask(frame.index)
        if label_map is None:
            raise InputError(f"frame {frame.index} has lost its mask since the export began. Export again.")
        label_map = keep_ids(label_map, self._ids)
        levels = [self._session.presence.level(frame.index, i) for i in self._ids]
        scores = [level / SURE if level > ABSENT else 0.0 for level in levels]
        return Prediction.from_label_map(label_map, self._ids, scores=scores)


def export_session(
    session: Session,
    output: Path,
    writers: Sequence[tuple[str, Mapping[str, Any]]],
    plugins: Plugins,
    progress: Progress,
    overwrite: bool = False,
) -> Exported | None:
    """Write a session's results; frames that are neither annotated nor tracked are left out.

    Args:
        session: its label maps.
        output: a folder; results go to ``output/<sequence>/``, as those of ``vos track``.
        writers: names and options.
        plugins: where writers are looked up.
        progress: told of frames done and of all frames; False stops.
        overwrite: replace an earlier export.
    Returns:
        What was written, or None if it was stopped.
    Raises:
        InputError: no frame has a mask, an earlier run's results are there, or the video has changed.
    """
    annotations = first_appearances(session)
    left_out, gaps = unknown_frames(session), object_gaps(session)
    source = open_video(session.facts, plugins)
    try:
        summary = track(
            KnownFrames(source, frozenset(left_out)),
            annotations,
            tracker=ReplayTracker(session, session.facts.frame_count - len(left_out), progress),
            output=output,
            writers=[(name, dict(options)) for name, options in writers],
            both_ways=annotations[0].frame_index > 0,  # the session has every mask: one pass is enough
            overwrite=overwrite,
            plugins=plugins,
        )
    except VosError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, _StoppedError):
                return None
            cause = cause.__cause__
        raise
    finally:
        source.close()
    assert summary.run.output is not None, "an output folder was given"
    return Exported(summary.run.output, left_out, gaps)


def first_appearances(session: Session) -> list[Annotation]:
    """The label maps of the frames in which objects appear first, so that each is known from there on.

    Raises:
        InputError: no frame has an object.
    """
    seen: set[int] = set()
    found = []
    for frame in np.flatnonzero(session.presence.known):
        index = int(frame)
        new = {i for i in session.live_ids(index) if i not in seen and session.presence.level(index, i) > ABSENT}
        if not new:
            continue
        label_map = session.mask(index)
        if label_map is None or not label_map.any():
            continue
        seen |= new
        found.append(Annotation(label_map, index))
    if not found:
        raise InputError("no frame has a mask yet. Mark an object and track it first.")
    return found

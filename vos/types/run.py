"""The record of one run over one sequence, as writers and observers receive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vos.types.source_info import SourceInfo


@dataclass(frozen=True)
class Run:
    """The facts of a run that are fixed before its first frame is tracked.

    Attributes:
        sequence: the sequence's name as a safe folder name.
        source: the source that the frames are read from.
        tracker: the tracker's name.
        options: the tracker's options by name, defaults included.
        details: the tracker's ``details`` attribute (checkpoint, hash), or empty.
        runtime: device, precision, threads, seed as the user requested them.
        output: the sequence's own folder (``OUT/<sequence>``), or None where nothing is written.
        address: where the output folder is copied to (``s3://...``), or empty.
        frame_count: how many frames will be tracked, or None where the source cannot tell.
        selection: ``start``, ``stop``, ``step``, ``max_side``, ``ends`` and ``from`` where they differ from the
            defaults.
        annotated: frame indices of the annotations, ascending; the run starts at the first.
        annotation_digest: SHA-256 of the annotations, to tell a run from one with other masks.
        frames_before: number of frames that a stopped earlier run completed; this run continues after them.
        both_ways: True if objects are tracked backward too, to the selection's first frame; frames before the first
            annotation then come first, in descending order, followed by the others in ascending order.
    """

    sequence: str
    source: SourceInfo
    tracker: str
    options: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)
    output: Path | None = None
    frame_count: int | None = None
    selection: Mapping[str, Any] = field(default_factory=dict)
    annotated: tuple[int, ...] = ()
    annotation_digest: str = ""
    both_ways: bool = False
    frames_before: int = 0
    address: str = ""


@dataclass(frozen=True)
class DoubtfulSpan:
    """Consecutive frames in which an object's mask may be wrong, which a person should check.

    Attributes:
        object_id: id of the object.
        first: index of the first frame.
        last: index of the last frame.
        reasons: why the masks are doubtful: ``low score``, ``changes size``, ``vanishes``, ``loses a part``,
            ``takes another's place``.
    """

    object_id: int
    first: int
    last: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class RunSummary:
    """The outcome of a run: its frames, objects and wall time.

    Attributes:
        run: the run.
        frames: how many frames have masks; ``run.frames_before`` of them are an earlier run's.
        object_ids: all objects of the run, ascending.
        seconds: wall time from the first read to the last write.
        truncated: why the source ended early, if that was allowed; else None.
        skipped: True if a finished run was found and nothing was done.
        doubts: doubtful spans, by object id and first frame.
    """

    run: Run
    frames: int
    object_ids: tuple[int, ...]
    seconds: float
    truncated: str | None = None
    skipped: bool = False
    doubts: tuple[DoubtfulSpan, ...] = ()

    @property
    def fps(self) -> float:
        """Frames per second of this run, everything included; 0 for a run of no frames."""
        tracked = self.frames - self.run.frames_before
        return tracked / self.seconds if tracked and self.seconds > 0 else 0.0

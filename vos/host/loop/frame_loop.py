"""The frame loop: frames in, label maps out, in memory that does not grow with the number of frames.

Object ids are identities. An object begins at the annotation that first holds its id, keeps that id
when it vanishes, and its absence never shifts another.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from vos.errors import InputError, SourceError
from vos.host.both_ways.combining import combine_label_maps, combine_predictions
from vos.host.both_ways.origins import Origins, earlier_annotations
from vos.host.both_ways.spool import BackwardSpool
from vos.host.continuing import Continuation
from vos.host.loop.frame_reader import FrameReader
from vos.host.loop.object_tracking import EncodedFrame, Merge, ObjectTracking
from vos.host.loop.pass_plan import PassPlan
from vos.host.loop.resume_point import ResumePoint
from vos.host.loop.tracked_frame import TrackedFrame
from vos.host.loop.tracker_adapter import TrackerAdapter
from vos.protocols.source import Source
from vos.protocols.tracker import EncodingTracker, Tracker
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap
from vos.types.frame import Frame

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopSettings:
    """Frames and directions of a frame loop.

    Attributes:
        indices: the frames wanted, ascending.
        both_ways: also track backward: each object from its first annotation, and between two annotations from
            the later one, as ``Origins`` says.
        max_side: the tracker sees frames whose longer side is at most this, in pixels.
        allow_truncated: a source that ends early is logged, not raised.
        ends: by object id, the index of the first frame without the object; a later annotation starts it again.
        continuation: of an earlier run, whose masks are kept before the continued frame.
    """

    indices: range
    both_ways: bool = False
    max_side: int | None = None
    allow_truncated: bool = False
    ends: Mapping[int, int] = field(default_factory=dict)
    continuation: Continuation | None = None


class FrameLoop:
    """Runs a tracker over a source; iterate it once.

    Attributes:
        tracker: the tracker.
        origins: which annotation each object's masks come from.
    """

    def __init__(
        self,
        source: Source,
        annotations: Mapping[int, Annotation],
        tracker: Tracker | EncodingTracker,
        tracker_name: str,
        merge: Merge,
        settings: LoopSettings,
    ) -> None:
        """Check that the parts fit together; nothing is read yet.

        Args:
            source: where frames come from.
            annotations: by frame index, at least one, all within the settings' indices.
            tracker: who tracks.
            tracker_name: for messages.
            merge: makes a label map of a prediction and a size.
            settings: what to do.
        Raises:
            InputError: the tracker cannot do what the annotations ask, or the source cannot.
            TrackerError: the tracker lacks a method, or cannot say how many frames it wants at once.
        """
        self.tracker = TrackerAdapter(tracker, tracker_name, live=not source.info.seekable)
        self.origins = Origins(annotations, settings.ends)
        self._annotations = annotations
        self._continuation = settings.continuation
        self._plan = PassPlan.make(
            settings.indices,
            annotations,
            self.origins,
            both_ways=settings.both_ways,
            continuation=settings.continuation,
        )
        self._reader = FrameReader(source, allow_truncated=settings.allow_truncated)
        self._objects = ObjectTracking(self.tracker, merge, self.origins, settings.max_side)
        self._resumed: ResumePoint | None = None
        if len(annotations) > 1 and not self.tracker.takes_annotations:
            later = ", ".join(str(i) for i in sorted(annotations)[1:6])
            raise InputError(
                f'tracker "{tracker_name}" takes no annotation after the first one (frame {min(annotations)}), '
                f"but some are given for frames {later}. Choose another tracker, or leave them out."
            )
        if self._plan.goes_back and not source.info.seekable:
            raise SourceError(f"{source.info.location}: a live stream cannot go backward. Leave out --both-ways.")
        if settings.continuation is not None and not source.info.seekable:
            raise SourceError(f"{source.info.location}: a live stream cannot be read again. Leave out --from.")

    @property
    def truncated(self) -> str | None:
        """Message of the source's early end, if it ended early and ``allow_truncated`` is set; else None."""
        return self._reader.truncated

    @property
    def passes(self) -> tuple[range, range]:
        """Indices of the frames, in the order in which they are given: backward ones, then forward ones."""
        if self._resumed is not None:
            return range(0), self._resumed.after(self._plan.forward)
        return self._plan.output_order

    @property
    def can_resume(self) -> bool:
        """True if a stopped run can resume in the middle of its forward pass: no frame needs a backward pass too."""
        return self._continuation is None and self._plan.forward_alone

    def position(self, index: int) -> int:
        """Number of forward-pass frames up to and including a frame; 0 for a frame of a backward pass."""
        forward = self._plan.forward
        return forward.index(index) + 1 if index in forward else 0

    @property
    def first_tracked(self) -> int:
        """The lowest index of a frame that is tracked; frames before it keep the masks of a continued run."""
        return self._plan.first_tracked

    def up_to(self, index: int) -> Iterator[int]:
        """The frames of an unbroken run until a frame of the way forward, that one included."""
        forward = self._plan.forward
        return chain(self._plan.before, forward[: forward.index(index) + 1])

    def known_after(self, index: int) -> set[int]:
        """The ids of the objects that are tracked after a frame, by the annotations and ends up to it."""
        self._objects.catch_up(self._annotations, self._plan.forward, index)
        return set(self._objects.known.annotated) - self._objects.known.ended

    def resume(self, point: ResumePoint) -> None:
        """Resume after a frame of a stopped run; called before the first frame.

        Raises:
            Exception: what a tracker raises that refuses its state; the loop is as it was.
        """
        if point.state is not None:
            self.tracker.load(point.state)
        self._resumed = point

    def __iter__(self) -> Iterator[TrackedFrame]:
        """Track: frames before the first annotation come first, descending; then the others, ascending."""
        if self._resumed is not None:
            yield from self._track_from(self._resumed)
            return
        with BackwardSpool() as spool:
            for indices in self._plan.backward:
                yield from self._track_backward(indices, spool)
            recalled: Collection[int] = ()
            if self._continuation is not None:
                yield from self._keep(self._continuation, spool)
                recalled = self.origins.object_ids
            with closing(self._track(self._plan.forward, recalled)) as forward:
                for tracked in forward:
                    yield self._combined(tracked, spool)

    def _track(self, indices: range, recalled: Collection[int] = ()) -> Generator[TrackedFrame]:
        """Track a pass that begins at an annotated frame.

        Args:
            indices: of the frames, in either direction.
            recalled: ids of the objects whose annotations before the pass the tracker sees first.
        """
        began = self._recall(indices[0], recalled)
        with closing(self._read(indices)) as frames:
            first = next(frames, None)
            if first is None:
                return
            annotation = self._annotations[first.frame.index]
            if began:
                self._objects.end_objects(first.frame)
                yield self._objects.step_with_earlier_mask(first, annotation, self._earlier_mask(first.frame))
            else:
                yield self._objects.start(first, annotation)
            yield from self._steps(frames)

    def _recall(self, index: int, object_ids: Collection[int]) -> bool:
        """Show the tracker these objects' annotations before a frame; says whether there are any."""
        began = False
        for annotation in earlier_annotations(self._annotations, index, object_ids):
            with closing(self._read(range(annotation.frame_index, annotation.frame_index + 1))) as frames:
                for encoded in frames:
                    if began:
                        self._objects.step(encoded, annotation)
                    else:
                        self._objects.start(encoded, annotation)
                    began = True
        return began

    def _earlier_mask(self, frame: Frame) -> LabelMap:
        """The mask that the first annotation of a pass corrects: the continued earlier run's, else an empty one."""
        if self._continuation is not None and frame.index == self._plan.forward.start:
            return self._continuation.required_mask(frame)
        return np.zeros(frame.size, np.uint8)

    def _track_from(self, point: ResumePoint) -> Generator[TrackedFrame]:
        """Track what a run that was stopped left."""
        forward = self._plan.forward
        self._objects.catch_up(self._annotations, forward, point.frame_index)
        left = forward[forward.index(point.frame_index) + (point.state is not None) :]
        if not left:
            return
        with closing(self._read(left, resumed=True)) as frames:
            if point.state is None:
                first = next(frames, None)
                if first is not None:
                    self._objects.start(first, Annotation(point.label_map, point.frame_index))
            yield from self._steps(frames)

    def _steps(self, frames: Iterator[EncodedFrame]) -> Iterator[TrackedFrame]:
        for encoded in frames:
            self._objects.end_objects(encoded.frame)
            yield self._objects.step(encoded, self._annotations.get(encoded.frame.index))

    def _track_backward(self, indices: range, spool: BackwardSpool) -> Generator[TrackedFrame]:
        """Track a pass backward: frames before the first annotation are given, the others are kept in the spool."""
        if indices.start > self._plan.forward.start:
            logger.info("tracking backward from frame %d to %d first.", indices.start, indices[-1])
        # The last annotated frame that can be read begins the pass; it belongs to the pass forward.
        for start in (index for index in indices if index in self._annotations):
            recalled = self._annotations[start].object_ids
            with closing(self._track(indices[indices.index(start) :], recalled)) as passed:
                if next(passed, None) is None:
                    continue
                for tracked in passed:
                    index = tracked.frame.index
                    if index in self._plan.before:
                        yield tracked
                    else:
                        _, behind = self.origins.distances(index)
                        spool.put(index, tracked.label_map, tracked.prediction, behind)
                return

    def _keep(self, continuation: Continuation, spool: BackwardSpool) -> Iterator[TrackedFrame]:
        """Yield the frames before the continued one, with the masks of the earlier run."""
        if not self._plan.kept:
            return
        with closing(self._reader.read(self._plan.kept)) as frames:
            for frame in frames:
                held = continuation.mask(frame)
                tracked = TrackedFrame.annotated(frame, np.zeros(frame.size, np.uint8) if held is None else held)
                combined = self._combined(tracked, spool)
                if held is not None or combined is not tracked:
                    yield combined

    def _read(self, indices: range, *, resumed: bool = False) -> Generator[EncodedFrame]:
        with closing(self._reader.read(indices, resumed=resumed)) as frames:
            yield from self._objects.encode(frames)

    def _combined(self, tracked: TrackedFrame, spool: BackwardSpool) -> TrackedFrame:
        """Combine a frame's forward and backward pass, if it has both."""
        index = tracked.frame.index
        stored = spool.take(index)
        if stored is None:
            return tracked
        backward_map, backward = stored
        ahead, behind = self.origins.distances(index)
        if index in self._plan.kept:  # only what the new annotations say changes
            ahead |= {i: far for i, far in behind.items() if index + far < self._plan.forward.start}
            behind = {i: far for i, far in behind.items() if i not in ahead}
        label_map = combine_label_maps(tracked.label_map, backward_map, ahead, behind)
        prediction = combine_predictions(tracked.prediction, backward, label_map, ahead, behind)
        return TrackedFrame.of(tracked.frame, prediction, label_map)

"""The frame loop: frames in, label maps out, in memory that does not grow with the number of frames.

Object ids are identities. An object begins at the annotation that first holds its id, keeps that id
when it vanishes, and its absence never shifts another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from vos.errors import (
    AnnotationError,
    InputError,
    PluginFailedError,
    SourceError,
    TruncatedSourceError,
)
from vos.host.both_ways.combining import combine_label_maps, combine_predictions
from vos.host.both_ways.origins import Origins, backward_passes, earlier_annotations
from vos.host.both_ways.spool import BackwardSpool
from vos.host.continuing import Continuation
from vos.host.known_objects import KnownObjects
from vos.host.merging import correct_label_map
from vos.host.resizing import resize_frame, shrink_label_map, shrunk_size
from vos.host.resume_point import ResumePoint
from vos.host.threads import ReadAhead
from vos.host.tracker_adapter import TrackerAdapter
from vos.protocols.source import Source
from vos.protocols.tracker import Encoding, EncodingTracker, Tracker
from vos.registry.plugin_errors import blaming
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap, Size
from vos.types.frame import Frame
from vos.types.label_map import without_void
from vos.types.prediction import Prediction

logger = logging.getLogger(__name__)

READ_AHEAD_FRAMES = 4

Merge = Callable[[Prediction, Size], LabelMap]


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """One frame's result.

    Attributes:
        frame: the frame, at the source's own size.
        prediction: the tracker's answer; made from the annotation on the first annotated frame.
        label_map: uint8 (H, W), the frame's size: 0 and ids; read-only.
    """

    frame: Frame
    prediction: Prediction
    label_map: LabelMap


class FrameLoop:
    """Runs a tracker over a source; iterate it once.

    Attributes:
        truncated: why the source ended early, once it did and that was allowed.
        tracker: the tracker.
        origins: where each object is annotated.
    """

    def __init__(
        self,
        source: Source,
        annotations: Mapping[int, Annotation],
        tracker: Tracker | EncodingTracker,
        tracker_name: str,
        merge: Merge,
        *,
        indices: range,
        both_ways: bool = False,
        max_side: int | None = None,
        allow_truncated: bool = False,
        ends: Mapping[int, int] | None = None,
        continuation: Continuation | None = None,
    ) -> None:
        """Check that the parts fit together; nothing is read yet.

        Args:
            source: where frames come from.
            annotations: by frame index, at least one, all within ``indices``.
            tracker: who tracks.
            tracker_name: for messages.
            merge: makes a label map of a prediction and a size.
            indices: the frames wanted, ascending.
            both_ways: also track backward: each object from its first annotation, and between two annotations from
                the later one, as ``Origins`` says.
            max_side: the tracker sees frames whose longer side is at most this, in pixels.
            allow_truncated: a source that ends early is logged, not raised.
            ends: frame index from which on an object is no more, by object id; a later annotation begins it anew.
            continuation: where the run goes on from an earlier one; what lies before keeps its masks.
        Raises:
            InputError: the tracker cannot do what the annotations ask, or the source cannot.
            TrackerError: the tracker lacks a method, or cannot say how many frames it wants at once.
        """
        self.truncated: str | None = None
        self._source = source
        self._annotations = annotations
        self.tracker = TrackerAdapter(tracker, tracker_name, live=not source.info.seekable)
        self._merge = merge
        self._max_side = max_side
        self._allow_truncated = allow_truncated
        self._size: Size | None = source.info.size
        self.origins = Origins(annotations, ends or {})
        self._known = KnownObjects(self.origins)
        anchor = min(annotations)
        self._before = indices[: indices.index(anchor)][::-1] if both_ways else range(0)
        self._forward = indices[indices.index(anchor) :]
        self._backward = backward_passes(annotations, self.origins, indices) if both_ways else []
        self._kept = range(0)
        self._resumed: ResumePoint | None = None
        self._recalled = False
        self._continuation = continuation
        if continuation is not None:
            self._go_on_from(continuation, indices)
        if len(annotations) > 1 and not self.tracker.takes_annotations:
            later = ", ".join(str(i) for i in sorted(annotations)[1:6])
            raise InputError(
                f'tracker "{tracker_name}" takes no annotation after the first one (frame {anchor}), '
                f"but some are given for frames {later}. Choose another tracker, or leave them out."
            )
        if (self._backward or self._kept) and not source.info.seekable:
            raise SourceError(f"{source.info.location}: a live stream cannot go backward. Leave out --both-ways.")

    def _go_on_from(self, continuation: Continuation, indices: range) -> None:
        """Leave out what the earlier run has done: all before the frame that no new backward pass comes to."""
        index = continuation.index
        if index not in self._annotations:
            raise InputError(f"--from {index}: no mask is given for frame {index}. Give one with --mask {index}:FILE.")
        self._backward = [passed for passed in self._backward if passed.start >= index]
        first = indices[0] if continuation.replay else min([index, *(passed[-1] for passed in self._backward)])
        self._before = range(0)
        self._kept = indices[indices.index(first) : indices.index(index)]
        self._forward = indices[indices.index(index) :]

    @property
    def passes(self) -> tuple[range, range]:
        """Indices of the frames, in the order in which they are given: backward ones, then forward ones."""
        if self._resumed is not None:
            return range(0), self._resumed.after(self._forward)
        return self._before, range((self._kept or self._forward).start, self._forward.stop, self._forward.step)

    @property
    def can_resume(self) -> bool:
        """Whether this run can go on in the middle of its way forward: no frame needs a pass backward as well."""
        return self._continuation is None and all(passed.start == self._forward.start for passed in self._backward)

    def position(self, index: int) -> int:
        """How many frames of the way forward end with a frame; 0 for one on the way backward."""
        return self._forward.index(index) + 1 if index in self._forward else 0

    def up_to(self, index: int) -> Iterator[int]:
        """The frames of an unbroken run until a frame of the way forward, that one included."""
        return chain(self._before, self._forward[: self._forward.index(index) + 1])

    def known_after(self, index: int) -> set[int]:
        """The ids of the objects that are tracked after a frame, by the annotations and ends up to it."""
        self._catch_up(index)
        return set(self._known.annotated) - self._known.ended

    def resume(self, point: ResumePoint) -> None:
        """Go on after a frame of a run that was stopped; called before the first frame.

        Raises:
            Exception: what a tracker raises that refuses its state; the loop is as it was.
        """
        if point.state is not None:
            self.tracker.load(point.state)
        self._resumed = point
        self._backward = []

    def __iter__(self) -> Iterator[TrackedFrame]:
        """Track: frames before the first annotation come first, descending; then the others, ascending."""
        with BackwardSpool() as spool:
            for indices in self._backward:
                if indices.start > self._forward.start:
                    logger.info("tracking backward from frame %d to %d first.", indices.start, indices[-1])
                with closing(self._track_backward(indices)) as passed:
                    for tracked in passed:
                        index = tracked.frame.index
                        if index in self._before:
                            yield tracked
                        else:
                            _, behind = self.origins.distances(index)
                            spool.put(index, tracked.label_map, tracked.prediction, behind)
            self._recalled = False
            if self._continuation is not None:
                yield from self._keep(self._continuation, spool)
                self._recall(self._forward.start, self.origins.object_ids)
            for tracked in self._track(self._forward):
                yield self._combined(tracked, spool)

    def _keep(self, continuation: Continuation, spool: BackwardSpool) -> Iterator[TrackedFrame]:
        """Give the frames before the one that the run goes on from, with the masks that they have."""
        if not self._kept:
            return
        with ReadAhead(self._source.frames(self._kept), READ_AHEAD_FRAMES) as frames:
            for frame in self._checked(frames, self._kept):
                held = continuation.mask(frame)
                label_map = np.zeros(frame.size, np.uint8) if held is None else held
                tracked = TrackedFrame(frame, Prediction.from_label_map(label_map), _read_only(label_map))
                combined = self._combined(tracked, spool)
                if held is not None or combined is not tracked:
                    yield combined

    def _recall(self, index: int, object_ids: Collection[int]) -> None:
        """Show the tracker these objects' annotations before a frame from which a pass goes on."""
        self._recalled = False
        for annotation in earlier_annotations(self._annotations, index, object_ids):
            alone = range(annotation.frame_index, annotation.frame_index + 1)
            with closing(self._encoded(self._checked(self._source.frames(alone), alone))) as encoded:
                for frame, small, encoding in encoded:
                    tell = self._step if self._recalled else self._start
                    tell(frame, small, encoding, annotation)
                    self._recalled = True

    def _track_backward(self, indices: range) -> Generator[TrackedFrame]:
        """Track one pass backward, without its first frame, from the last annotated one that can be read."""
        for start in (index for index in indices if index in self._annotations):
            self._recall(start, self._annotations[start].object_ids)
            with closing(self._track(indices[indices.index(start) :])) as passed:
                if next(passed, None) is not None:
                    yield from passed
                    return

    def _combined(self, tracked: TrackedFrame, spool: BackwardSpool) -> TrackedFrame:
        """Put a frame's forward and backward pass together, if there are both."""
        if (stored := spool.take(tracked.frame.index)) is None:
            return tracked
        backward_map, backward = stored
        ahead, behind = self.origins.distances(tracked.frame.index)
        if tracked.frame.index in self._kept:  # only what the new annotations say changes
            ahead |= {i: far for i, far in behind.items() if tracked.frame.index + far < self._forward.start}
            behind = {i: far for i, far in behind.items() if i not in ahead}
        label_map = combine_label_maps(tracked.label_map, backward_map, ahead, behind)
        prediction = combine_predictions(tracked.prediction, backward, label_map, ahead, behind)
        return TrackedFrame(tracked.frame, prediction, _read_only(label_map))

    def _track(self, indices: range) -> Generator[TrackedFrame]:
        """Track a pass, or what a run that was stopped left of it."""
        at = self._resumed
        if at is not None:
            self._catch_up(at.frame_index)
            indices = indices[indices.index(at.frame_index) + (at.state is not None) :]
            if not indices:
                return
        with (
            ReadAhead(self._source.frames(indices), READ_AHEAD_FRAMES) as frames,
            closing(self._encoded(self._until_truncated(frames, indices))) as encoded,
        ):
            for position, (frame, small, encoding) in enumerate(encoded):
                annotation = self._annotations.get(frame.index)
                if position == 0 and at is not None and at.label_map is not None:
                    self._start(frame, small, encoding, Annotation(at.label_map, frame.index))
                elif position == 0 and at is None:
                    assert annotation is not None, "a pass begins at an annotated frame"
                    begin = self._go_on if self._recalled else self._start
                    yield begin(frame, small, encoding, annotation)
                else:
                    self._end_objects(frame)
                    yield self._step(frame, small, encoding, annotation)

    def _until_truncated(self, frames: Iterable[Frame], indices: range) -> Iterator[Frame]:
        try:
            yield from self._checked(frames, indices)
        except TruncatedSourceError as error:
            if not self._allow_truncated:
                raise
            self.truncated = str(error)
            logger.warning(
                "%s: ends at frame %d of %d; the masks stop there.",
                self._source.info.location,
                error.frames_read - 1,
                error.frames_declared,
            )

    def _checked(self, frames: Iterable[Frame], indices: range) -> Iterator[Frame]:
        """The source's frames; another plugin may have made it, so each is to be the one that was asked for."""
        info = self._source.info
        given = 0
        last = ""
        with blaming(f"{info.location}: the source ({info.kind}) failed", leaving=True):
            for frame in frames:
                if not isinstance(frame, Frame):
                    raise PluginFailedError(
                        f"{info.location}: the source ({info.kind}) gave a {type(frame).__name__}, "
                        "expected a vos.Frame."
                    )
                if given == len(indices) or frame.index != indices[given] or frame.name == last:
                    expected = f"frame {indices[given]}" if given < len(indices) else "no more"
                    raise PluginFailedError(
                        f"{info.location}: the source ({info.kind}) gave frame {frame.index}, "
                        f'named "{frame.name}", after "{last}", expected {expected} and a name of its own.'
                    )
                if self._size is None:
                    self._size = frame.size
                if frame.size != self._size:
                    raise SourceError(
                        f"{info.location}: frame {frame.name} is {_wxh(frame.size)}, "
                        f"the ones before are {_wxh(self._size)}. All frames of a sequence need one size."
                    )
                given += 1
                last = frame.name
                yield frame
        if info.frame_count is not None and given < len(indices) and (given or self._resumed is not None):
            where = f"after frame {last}" if given else f"before frame {indices[0]}"
            raise TruncatedSourceError(
                f"{info.location}: ended {where}: {given} frames came, {len(indices)} were asked for. "
                "Use --allow-truncated to take what is there.",
                frames_read=indices[given - 1] + 1 if given else indices[0],
                frames_declared=info.frame_count,
            )

    def _encoded(self, frames: Iterator[Frame]) -> Generator[tuple[Frame, Frame, Encoding]]:
        """Pair each frame with the frame that the tracker sees and its encoding."""
        yield from self.tracker.encode(frames, self._shrink)

    def _end_objects(self, frame: Frame) -> None:
        """Let the tracker forget each object whose end lies between the annotation it is from and this frame."""
        self._known.end(frame.index, partial(self.tracker.forget, frame))

    def _catch_up(self, index: int) -> None:
        """Set the known objects to those after a frame of the way forward."""
        self._known.catch_up(self._annotations, self._forward, index, self.tracker.is_forgotten)

    def _shrink(self, frame: Frame) -> Frame:
        return resize_frame(frame, shrunk_size(frame.size, self._max_side))

    def _start(self, frame: Frame, small: Frame, encoding: Encoding, annotation: Annotation) -> TrackedFrame:
        label_map = _label_map_of(annotation, frame)
        seen = _own_copy(shrink_label_map(label_map, small.size))
        self.tracker.start(small, seen, encoding)
        self._known.start(annotation, frame.index)
        return TrackedFrame(frame, Prediction.from_label_map(label_map), _read_only(label_map))

    def _go_on(self, frame: Frame, small: Frame, encoding: Encoding, annotation: Annotation) -> TrackedFrame:
        """Go on from an annotation, where the earlier run has a mask over that, after earlier ones were shown."""
        self._end_objects(frame)
        held = np.zeros(frame.size, np.uint8)
        if self._continuation is not None and frame.index == self._forward.start:
            held = self._continuation.required_mask(frame)
        known = np.where(np.isin(held, [*self._known.annotated, *annotation.object_ids]), held, 0).astype(np.uint8)
        whole = correct_label_map(known, _label_map_of(annotation, frame), annotation.object_ids)
        self.tracker.step(small, encoding, set(self._known.annotated))
        self.tracker.annotate(small, _own_copy(shrink_label_map(whole, small.size)))
        self._known.add(annotation, frame.index)
        return TrackedFrame(frame, Prediction.from_label_map(whole, sorted(self._known.annotated)), _read_only(whole))

    def _step(self, frame: Frame, small: Frame, encoding: Encoding, annotation: Annotation | None) -> TrackedFrame:
        prediction = self.tracker.step(small, encoding, set(self._known.annotated))
        label_map = self._merge(prediction, frame.size)
        if self._known.ended & set(prediction.object_ids):  # a tracker that cannot forget still answers for them
            label_map = np.where(np.isin(label_map, list(self._known.ended)), 0, label_map).astype(np.uint8)
        if annotation is None:
            return TrackedFrame(frame, prediction, _read_only(label_map))
        given = _label_map_of(annotation, frame)
        self.tracker.annotate(small, _own_copy(shrink_label_map(given, small.size)))
        self._known.add(annotation, frame.index)
        corrected = correct_label_map(label_map, given, annotation.object_ids)
        prediction = Prediction.from_label_map(corrected, sorted(self._known.annotated))
        return TrackedFrame(frame, prediction, _read_only(corrected))


def _label_map_of(annotation: Annotation, frame: Frame) -> LabelMap:
    if annotation.size != frame.size:
        raise AnnotationError(
            f"annotation of frame {frame.name} is {_wxh(annotation.size)}, the frame is {_wxh(frame.size)}. "
            "Draw or resize the mask (nearest neighbour) at the frame's size."
        )
    return without_void(annotation.label_map)


def _own_copy(label_map: LabelMap) -> LabelMap:
    """A copy for the tracker alone: one that writes through the read-only flag, as torch can, changes no mask."""
    return _read_only(label_map.copy())


def _read_only(label_map: LabelMap) -> LabelMap:
    view: LabelMap = label_map.view()
    view.flags.writeable = False
    return view


def _wxh(size: Size) -> str:
    return f"{size[1]}x{size[0]}"

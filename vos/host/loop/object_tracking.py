"""One frame after another through the tracker: annotations in, ended objects out, a label map of each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from vos.errors import AnnotationError
from vos.host.both_ways.origins import Origins
from vos.host.loop.known_objects import KnownObjects
from vos.host.loop.resizing import resize_frame, shrink_label_map, shrunk_size
from vos.host.loop.tracked_frame import TrackedFrame, read_only
from vos.host.loop.tracker_adapter import TrackerAdapter
from vos.host.merging import correct_label_map
from vos.protocols.tracker import Encoding
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap, Size
from vos.types.frame import Frame
from vos.types.label_map import without_void
from vos.types.prediction import Prediction

Merge = Callable[[Prediction, Size], LabelMap]


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """A frame and what the tracker gets of it.

    Attributes:
        frame: at the source's size; masks have this size.
        small: the frame that the tracker sees, at most ``max_side`` pixels long.
        encoding: of ``small``; None for a tracker that encodes nothing.
    """

    frame: Frame
    small: Frame
    encoding: Encoding


class ObjectTracking:
    """Calls a tracker for one pass after another and knows which objects it tracks.

    Attributes:
        known: the objects of the present pass.
    """

    def __init__(self, tracker: TrackerAdapter, merge: Merge, origins: Origins, max_side: int | None) -> None:
        """Track nothing yet.

        Args:
            tracker: to call.
            merge: makes a label map of a prediction and a size.
            origins: of the run's annotations.
            max_side: longest side of the frames that the tracker sees, pixels.
        """
        self.known = KnownObjects(origins)
        self._tracker = tracker
        self._merge = merge
        self._max_side = max_side

    def encode(self, frames: Iterator[Frame]) -> Iterator[EncodedFrame]:
        """Shrink and encode frames, ahead where the tracker can."""
        with closing(self._tracker.encode(frames, self._shrink)) as encoded:
            for frame, small, encoding in encoded:
                yield EncodedFrame(frame, small, encoding)

    def start(self, encoded: EncodedFrame, annotation: Annotation) -> TrackedFrame:
        """Start a pass at an annotated frame."""
        label_map = _label_map_of(annotation, encoded.frame)
        self._tracker.start(encoded.small, _for_tracker(label_map, encoded), encoded.encoding)
        self.known.start(annotation, encoded.frame.index)
        return TrackedFrame.annotated(encoded.frame, label_map)

    def step(self, encoded: EncodedFrame, annotation: Annotation | None) -> TrackedFrame:
        """Track a frame, and lay its annotation over the result if it has one."""
        frame = encoded.frame
        prediction = self._tracker.step(encoded.small, encoded.encoding, set(self.known.annotated))
        if self.known.ended & set(prediction.object_ids):  # a tracker that cannot forget still answers for them
            prediction = _without(prediction, self.known.ended)
        label_map = self._merge(prediction, frame.size)
        if annotation is None:
            return TrackedFrame.of(frame, prediction, label_map)
        given = _label_map_of(annotation, frame)
        corrected = correct_label_map(label_map, given, annotation.object_ids)
        self._annotate(encoded, given, annotation)
        return TrackedFrame.annotated(frame, corrected, sorted(self.known.annotated))

    def step_with_earlier_mask(self, encoded: EncodedFrame, annotation: Annotation, mask: LabelMap) -> TrackedFrame:
        """Start at an annotated frame of a continued run: the tracker gets the earlier run's mask, corrected.

        Args:
            encoded: the frame.
            annotation: of the frame.
            mask: uint8 (H, W), of the earlier run.
        """
        ids = annotation.object_ids
        known = np.where(np.isin(mask, [*self.known.annotated, *ids]), mask, 0).astype(np.uint8)
        whole = correct_label_map(known, _label_map_of(annotation, encoded.frame), ids)
        self._tracker.step(encoded.small, encoded.encoding, set(self.known.annotated))
        self._annotate(encoded, whole, annotation)
        return TrackedFrame.annotated(encoded.frame, whole, sorted(self.known.annotated))

    def end_objects(self, frame: Frame) -> None:
        """Make the tracker forget each object whose end lies between its annotation and this frame."""
        self.known.end(frame.index, partial(self._tracker.forget, frame))

    def catch_up(self, annotations: Mapping[int, Annotation], forward: range, index: int) -> None:
        """Set the known objects to those after a frame of the pass forward, without calling the tracker."""
        self.known.catch_up(annotations, forward, index, self._tracker.is_forgotten)

    def _annotate(self, encoded: EncodedFrame, label_map: LabelMap, annotation: Annotation) -> None:
        self._tracker.annotate(encoded.small, _for_tracker(label_map, encoded))
        self.known.add(annotation, encoded.frame.index)

    def _shrink(self, frame: Frame) -> Frame:
        return resize_frame(frame, shrunk_size(frame.size, self._max_side))


def _for_tracker(label_map: LabelMap, encoded: EncodedFrame) -> LabelMap:
    """A copy for the tracker alone: one that writes through the read-only flag, as torch can, changes no mask."""
    return read_only(shrink_label_map(label_map, encoded.small.size).copy())


def _without(prediction: Prediction, ended: Set[int]) -> Prediction:
    """Leave out the rows of objects that have ended: nothing of them competes with other objects, or is reported."""
    rows = [row for row, object_id in enumerate(prediction.object_ids) if object_id not in ended]
    ids = [prediction.object_ids[row] for row in rows]
    scores = None if prediction.scores is None else prediction.scores[rows]
    present = None if prediction.present is None else prediction.present[rows]
    if prediction.label_map is None:
        return Prediction(ids, prediction.logits[rows], scores, present)
    left = np.where(np.isin(prediction.label_map, ids), prediction.label_map, 0).astype(np.uint8)
    return Prediction.from_label_map(left, ids, scores, present)


def _label_map_of(annotation: Annotation, frame: Frame) -> LabelMap:
    if annotation.size != frame.size:
        raise AnnotationError(
            f"annotation of frame {frame.name} is {_wxh(annotation.size)}, the frame is {_wxh(frame.size)}. "
            "Draw or resize the mask (nearest neighbour) at the frame's size."
        )
    return without_void(annotation.label_map)


def _wxh(size: Size) -> str:
    return f"{size[1]}x{size[0]}"

"""The frame loop: frames in, label maps out, in memory that does not grow with the number of frames.

Object ids are identities. An object begins at the annotation that first holds its id, keeps that id
when it vanishes, and its absence never shifts another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from vos.errors import (
    AnnotationError,
    InputError,
    PluginFailedError,
    SourceError,
    TrackerError,
    TruncatedSourceError,
    VosError,
)
from vos.host.resizing import resize_frame, shrink_label_map, shrunk_size
from vos.host.threads import ReadAhead, map_ahead
from vos.protocols.source import Source
from vos.protocols.tracker import AnnotatingTracker, Encoding, EncodingAheadTracker, EncodingTracker, Tracker
from vos.registry.plugin_errors import blaming, in_words
from vos.types.annotation import Annotation
from vos.types.arrays import LabelMap, Size
from vos.types.frame import Frame
from vos.types.label_map import object_ids, without_void
from vos.types.prediction import Prediction

logger = logging.getLogger(__name__)

READ_AHEAD_FRAMES = 4
# Threads that encode ahead. With two, one works on while the other's frame is waited for.
ENCODERS = 2

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
    ) -> None:
        """Check that the parts fit together; nothing is read yet.

        Args:
            source: where frames come from.
            annotations: by frame index, at least one, all within ``indices``.
            tracker: who tracks.
            tracker_name: for messages.
            merge: makes a label map of a prediction and a size.
            indices: the frames wanted, ascending.
            both_ways: also track backward from the first annotation.
            max_side: the tracker sees frames whose longer side is at most this, in pixels.
            allow_truncated: a source that ends early is logged, not raised.
        Raises:
            InputError: the tracker cannot do what the annotations ask, or the source cannot.
            TrackerError: the tracker lacks a method, or cannot say how many frames it wants at once.
        """
        _check_methods(tracker, tracker_name)
        self.truncated: str | None = None
        self._source = source
        self._annotations = annotations
        self._plain: Tracker | None = None if isinstance(tracker, EncodingTracker) else tracker
        self._encoding: EncodingTracker | None = tracker if isinstance(tracker, EncodingTracker) else None
        self._ahead: EncodingAheadTracker | None = None
        # A live stream's next frame is not there yet while this one is tracked.
        if isinstance(tracker, EncodingAheadTracker) and source.info.seekable:
            self._ahead = tracker
        self._batch = _batch_of(tracker, tracker_name) if source.info.seekable else 1
        self._annotating: AnnotatingTracker | None = tracker if isinstance(tracker, AnnotatingTracker) else None
        self._name = tracker_name
        self._merge = merge
        self._max_side = max_side
        self._allow_truncated = allow_truncated
        self._size: Size | None = source.info.size
        self._known: set[int] = set()
        self._rowless: set[int] = set()
        anchor = min(annotations)
        self._forward = indices[indices.index(anchor) :]
        self._backward = indices[indices.index(anchor) :: -1] if both_ways else range(0)
        if len(annotations) > 1 and self._annotating is None:
            later = ", ".join(str(i) for i in sorted(annotations)[1:6])
            raise InputError(
                f'tracker "{tracker_name}" takes no annotation after the first one (frame {anchor}), '
                f"but some are given for frames {later}. Choose another tracker, or leave them out."
            )
        if len(self._backward) > 1 and not source.info.seekable:
            raise SourceError(f"{source.info.location}: a live stream cannot go backward. Leave out --both-ways.")

    def __iter__(self) -> Iterator[TrackedFrame]:
        """Track: first backward (descending, without the annotated frame), then forward."""
        if len(self._backward) > 1:
            anchor = self._backward[0]
            passed = self._track(self._backward, {anchor: self._annotations[anchor]})
            yield from islice(passed, 1, None)
        yield from self._track(self._forward, self._annotations)

    def _track(self, indices: range, annotations: Mapping[int, Annotation]) -> Iterator[TrackedFrame]:
        with (
            ReadAhead(self._source.frames(indices), READ_AHEAD_FRAMES) as frames,
            closing(self._encode(self._until_truncated(frames, indices))) as encoded,
        ):
            for position, (frame, small, encoding) in enumerate(encoded):
                annotation = annotations.get(frame.index)
                if position == 0:
                    assert annotation is not None, "a pass begins at an annotated frame"
                    yield self._start(frame, small, encoding, annotation)
                else:
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
        with blaming(f"{info.location}: the source ({info.kind}) failed"):
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
        if info.frame_count is not None and 0 < given < len(indices):
            raise TruncatedSourceError(
                f"{info.location}: ended after frame {last}: {given} frames came, {len(indices)} were asked for. "
                "Use --allow-truncated to take what is there.",
                frames_read=indices[given - 1] + 1,
                frames_declared=info.frame_count,
            )

    def _encode(self, frames: Iterator[Frame]) -> Generator[tuple[Frame, Frame, Encoding]]:
        """Pair each frame with what the tracker sees of it and its encoding, made as the tracker wants it."""
        tracker = self._encoding
        if tracker is None:
            for frame in frames:
                yield frame, self._shrink(frame), None
            return
        batches = iter(lambda: list(islice(frames, self._batch)), [])
        if self._ahead is None:
            for batch in batches:
                yield from self._encode_batch(tracker.encode, batch)
        else:
            encode = partial(self._encode_batch, self._ahead.encode_ahead)
            with closing(map_ahead(encode, batches, ENCODERS)) as answers:
                for answer in answers:
                    yield from answer

    def _encode_batch(
        self, encode: Callable[[Sequence[Frame]], list[Encoding]], batch: Sequence[Frame]
    ) -> list[tuple[Frame, Frame, Encoding]]:
        smalls = [self._shrink(frame) for frame in batch]
        with self._blaming(batch[0]):
            encodings = encode(smalls)
        if not hasattr(encodings, "__len__") or len(encodings) != len(batch):
            count = f"{len(encodings)} encodings" if hasattr(encodings, "__len__") else f"a {type(encodings).__name__}"
            raise TrackerError(
                f'tracker "{self._name}": encode gave {count} for {len(batch)} frames, expected a list of one each.'
            )
        return list(zip(batch, smalls, encodings, strict=True))

    def _shrink(self, frame: Frame) -> Frame:
        return resize_frame(frame, shrunk_size(frame.size, self._max_side))

    def _start(self, frame: Frame, small: Frame, encoding: Encoding, annotation: Annotation) -> TrackedFrame:
        label_map = _label_map_of(annotation, frame)
        seen = _own_copy(shrink_label_map(label_map, small.size))
        with self._blaming(frame):
            if self._encoding is not None:
                self._encoding.start(small, seen, encoding)
            else:
                assert self._plain is not None, "a tracker is one or the other"
                self._plain.start(small, seen)
        self._known = set(annotation.object_ids)
        return TrackedFrame(frame, Prediction.from_label_map(label_map), _read_only(label_map))

    def _step(self, frame: Frame, small: Frame, encoding: Encoding, annotation: Annotation | None) -> TrackedFrame:
        with self._blaming(frame):
            prediction = self._predict(small, encoding)
        label_map = self._merge(prediction, frame.size)
        if annotation is None:
            return TrackedFrame(frame, prediction, _read_only(label_map))
        assert self._annotating is not None, "checked when the loop was made"
        given = _label_map_of(annotation, frame)
        with self._blaming(frame):
            self._annotating.annotate(small, _own_copy(shrink_label_map(given, small.size)))
        self._known |= set(annotation.object_ids)
        corrected = _correct(label_map, given, annotation.object_ids)
        prediction = Prediction.from_label_map(corrected, sorted(self._known))
        return TrackedFrame(frame, prediction, _read_only(corrected))

    def _predict(self, frame: Frame, encoding: Encoding) -> Prediction:
        if self._encoding is not None:
            prediction = self._encoding.step(frame, encoding)
        else:
            assert self._plain is not None, "a tracker is one or the other"
            prediction = self._plain.step(frame)
        _check_prediction(prediction, self._known)
        self._warn_of_missing_rows(prediction, frame)
        return prediction

    def _warn_of_missing_rows(self, prediction: Prediction, frame: Frame) -> None:
        """Say once of each object that the tracker answers no more: its masks are empty, which may be meant."""
        missing = self._known - set(prediction.object_ids) - self._rowless
        if missing:
            self._rowless |= missing
            logger.warning(
                'tracker "%s", frame %s: no row for object %s; it has no pixel in the masks from here on. '
                "A tracker answers for each object that it knows, in the frame or not.",
                self._name,
                frame.name,
                ", ".join(map(str, sorted(missing))),
            )

    @contextmanager
    def _blaming(self, frame: Frame) -> Iterator[None]:
        """Name the tracker and the frame in what goes wrong inside."""
        try:
            yield
        except InputError:
            raise
        except VosError as error:
            raise TrackerError(f'tracker "{self._name}", frame {frame.name} (index {frame.index}): {error}') from error
        except (Exception, SystemExit) as error:
            raise TrackerError(
                f'tracker "{self._name}" failed on frame {frame.name} (index {frame.index}): {in_words(error)}'
            ) from error


def _check_methods(tracker: object, name: str) -> None:
    """Refuse what is no tracker before anything is read."""
    if isinstance(tracker, type):
        raise TrackerError(f"tracker {tracker.__name__} is a class, expected an object of it.")
    for method in ("start", "step"):
        if not callable(getattr(tracker, method, None)):
            raise TrackerError(f'tracker "{name}" is a {type(tracker).__name__}, which has no method {method}.')


def _batch_of(tracker: object, name: str) -> int:
    """How many frames the tracker wants encoded at once."""
    wanted = getattr(tracker, "encode_batch", 1)
    try:
        return max(1, int(wanted))
    except (TypeError, ValueError):
        raise TrackerError(f'tracker "{name}": encode_batch is {wanted!r}, expected a number of frames.') from None


def _label_map_of(annotation: Annotation, frame: Frame) -> LabelMap:
    if annotation.size != frame.size:
        raise AnnotationError(
            f"annotation of frame {frame.name} is {_wxh(annotation.size)}, the frame is {_wxh(frame.size)}. "
            "Draw or resize the mask (nearest neighbour) at the frame's size."
        )
    return without_void(annotation.label_map)


def _correct(label_map: LabelMap, given: LabelMap, ids: Sequence[int]) -> LabelMap:
    """Replace the annotated objects' pixels; an object that the annotation leaves out keeps its others."""
    corrected = np.where(np.isin(label_map, ids), 0, label_map).astype(np.uint8)
    marked = given > 0
    corrected[marked] = given[marked]
    return corrected


def _check_prediction(prediction: object, known: set[int]) -> None:
    if not isinstance(prediction, Prediction):
        raise TypeError(f"step returned {type(prediction).__name__}, expected a vos.Prediction")
    strange = sorted(set(prediction.object_ids) - known)
    if strange:
        raise ValueError(f"prediction has object ids {strange} that no annotation gave (known: {sorted(known)})")
    if prediction.label_map is None and prediction.logits.size and np.isnan(np.min(prediction.logits)):
        raise ValueError("logits hold NaN")


def checked_label_map(label_map: object, prediction: Prediction, size: Size, who: str) -> LabelMap:
    """Check what a ``vos_merge_objects`` hook returned.

    Raises:
        PluginFailedError: not uint8 of the frame's size, or ids that the prediction does not have.
    """
    if not isinstance(label_map, np.ndarray):
        raise PluginFailedError(f"{who}: vos_merge_objects returned a {type(label_map).__name__}, expected an array.")
    if label_map.dtype != np.uint8 or label_map.shape != size:
        found = f"{label_map.dtype} {label_map.shape}"
        raise PluginFailedError(f"{who}: vos_merge_objects returned {found}, expected uint8 {size}.")
    strange = sorted(set(object_ids(label_map)) - set(prediction.object_ids))
    if strange or (label_map == 255).any():
        raise PluginFailedError(
            f"{who}: vos_merge_objects returned ids {strange or [255]} that the prediction does not have."
        )
    return label_map


def _own_copy(label_map: LabelMap) -> LabelMap:
    """A copy for the tracker alone: one that writes through the read-only flag, as torch can, changes no mask."""
    return _read_only(label_map.copy())


def _read_only(label_map: LabelMap) -> LabelMap:
    view: LabelMap = label_map.view()
    view.flags.writeable = False
    return view


def _wxh(size: Size) -> str:
    return f"{size[1]}x{size[0]}"

"""One interface to trackers of all capabilities: checks their predictions and names the tracker in its errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast
from weakref import WeakValueDictionary

import numpy as np

from vos.errors import InputError, TrackerError, VosError
from vos.host.threads import map_ahead
from vos.protocols.tracker import (
    AnnotatingTracker,
    Encoding,
    EncodingAheadTracker,
    EncodingTracker,
    ForgettingTracker,
    SavingTracker,
    Tracker,
)
from vos.registry.plugin_errors import in_words, is_stop
from vos.types.arrays import LabelMap, Size
from vos.types.frame import Frame
from vos.types.prediction import Prediction

logger = logging.getLogger(__name__)

ENCODERS = 2
"""Threads that encode ahead. With two, one works on while the other's frame is waited for."""

LARGEST_LOGIT = 1e4
"""Infinite logits become this, which is as certain and can be resized."""


_latest: WeakValueDictionary[int, TrackerAdapter] = WeakValueDictionary()
"""By ``id`` of each tracker, the run that started it last: a tracker follows one sequence at a time."""


class TrackerAdapter:
    """A tracker as the frame loop sees it: encodes frames, starts, steps and takes annotations.

    A tracker that encodes nothing gets ``None`` encodings here and is called without them.

    Attributes:
        name: for messages.
        takes_annotations: True if objects can be added or corrected after the first frame.
        saves: True if its state can be saved and loaded.
        batch: frames that it encodes at once.
    """

    def __init__(self, tracker: Tracker | EncodingTracker, name: str, *, live: bool) -> None:
        """Check the tracker's methods.

        Args:
            tracker: to call.
            name: for messages.
            live: True if the next frame is not there while this one is tracked, so that nothing is encoded ahead.
        Raises:
            TrackerError: it lacks a method, or cannot say how many frames it wants at once.
        """
        _check_methods(tracker, name)
        self.name = name
        self.takes_annotations = isinstance(tracker, AnnotatingTracker)
        self.saves = isinstance(tracker, SavingTracker)
        self._tracker = tracker
        self._encodes = isinstance(tracker, EncodingTracker)
        self._ahead = isinstance(tracker, EncodingAheadTracker) and not live
        self.batch = 1 if live else _batch_of(tracker, name)
        self._rowless: set[int] = set()

    def encode(
        self, frames: Iterator[Frame], resize: Callable[[Frame], Frame]
    ) -> Generator[tuple[Frame, Frame, Encoding]]:
        """Encode frames as the tracker wants it: not at all, in batches, or ahead in threads of their own.

        Args:
            frames: at the source's size.
            resize: gives the frame that the tracker sees.
        Yields:
            The frame, the frame that the tracker sees, and its encoding (None without an encoder).
        """
        if not self._encodes:
            yield from ((frame, resize(frame), None) for frame in frames)
            return
        tracker = cast("EncodingTracker", self._tracker)
        batches: Iterable[list[Frame]] = iter(lambda: list(islice(frames, self.batch)), [])
        if not self._ahead:
            for batch in batches:
                yield from self._encode_batch(tracker.encode, resize, batch)
            return
        encode = partial(self._encode_batch, cast("EncodingAheadTracker", tracker).encode_ahead, resize)
        with closing(map_ahead(encode, batches, ENCODERS)) as answers:
            for answer in answers:
                yield from answer

    def start(self, frame: Frame, label_map: LabelMap, encoding: Encoding) -> None:
        """Start a sequence at an annotated frame."""
        _latest[id(self._tracker)] = self
        with self._naming(frame):
            if self._encodes:
                cast("EncodingTracker", self._tracker).start(frame, label_map, encoding)
            else:
                cast("Tracker", self._tracker).start(frame, label_map)

    def step(self, frame: Frame, encoding: Encoding, known: set[int]) -> Prediction:
        """Track one frame.

        Args:
            frame: the next frame.
            encoding: of that frame.
            known: ids of the objects that annotations gave so far.
        Returns:
            The tracker's prediction, checked.
        Raises:
            TrackerError: it failed, or its answer breaks the contract; the message names the frame.
        """
        with self._naming(frame):
            self._refuse_started_elsewhere()
            if self._encodes:
                prediction = cast("EncodingTracker", self._tracker).step(frame, encoding)
            else:
                prediction = cast("Tracker", self._tracker).step(frame)
            prediction = _checked_prediction(prediction, known, frame.size)
        self._warn_of_missing_rows(prediction, known, frame)
        return prediction

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add or correct objects on the frame that was tracked last."""
        with self._naming(frame):
            cast("AnnotatingTracker", self._tracker).annotate(frame, label_map)

    def forget(self, frame: Frame, object_id: int) -> bool:
        """Drop an object for good, before ``frame`` is tracked.

        Returns:
            True if the tracker can forget objects; False if it keeps predicting the object.
        """
        if not self.is_forgotten(object_id):
            return False
        with self._naming(frame):
            self._refuse_started_elsewhere()
            cast("ForgettingTracker", self._tracker).forget(object_id)
        return True

    def is_forgotten(self, object_id: int) -> bool:
        """Record that an object has ended, without a call of the tracker; True if the tracker can forget it."""
        self._rowless.add(object_id)
        return isinstance(self._tracker, ForgettingTracker)

    def save(self, path: Path) -> None:
        """Write the tracker's state; raises what the tracker raises."""
        cast("SavingTracker", self._tracker).save(path)

    def load(self, path: Path) -> None:
        """Load the tracker's state; raises what the tracker raises."""
        _latest[id(self._tracker)] = self
        cast("SavingTracker", self._tracker).load(path)

    def _refuse_started_elsewhere(self) -> None:
        if _latest.get(id(self._tracker)) is not self:
            raise TrackerError("another run has started this tracker object. Make one for each run that goes on.")

    def _encode_batch(
        self,
        encode: Callable[[Sequence[Frame]], list[Encoding]],
        resize: Callable[[Frame], Frame],
        batch: Sequence[Frame],
    ) -> list[tuple[Frame, Frame, Encoding]]:
        resized = [resize(frame) for frame in batch]
        with self._naming(batch[0]):
            encodings = encode(resized)
        if not hasattr(encodings, "__len__") or len(encodings) != len(batch):
            count = f"{len(encodings)} encodings" if hasattr(encodings, "__len__") else f"a {type(encodings).__name__}"
            raise TrackerError(
                f'tracker "{self.name}": encode gave {count} for {len(batch)} frames, expected a list of one each.'
            )
        return list(zip(batch, resized, encodings, strict=True))

    def _warn_of_missing_rows(self, prediction: Prediction, known: set[int], frame: Frame) -> None:
        """Warn once of each object without a row: its masks are empty, which may be meant."""
        missing = known - set(prediction.object_ids) - self._rowless
        if missing:
            self._rowless |= missing
            logger.warning(
                'tracker "%s", frame %s: no row for object %s; it has no pixel in the masks from here on. '
                "A tracker answers for each object that it knows, in the frame or not.",
                self.name,
                frame.name,
                ", ".join(map(str, sorted(missing))),
            )

    def _naming(self, frame: Frame) -> AbstractContextManager[None]:
        return _naming(self.name, frame)


@contextmanager
def _naming(tracker: str, frame: Frame) -> Iterator[None]:
    """Name the tracker and the frame in what goes wrong inside the block."""
    try:
        yield
    except InputError:
        raise
    except VosError as error:
        raise TrackerError(f'tracker "{tracker}", frame {frame.name} (index {frame.index}): {error}') from error
    except BaseException as error:
        if is_stop(error):
            raise
        raise TrackerError(
            f'tracker "{tracker}" failed on frame {frame.name} (index {frame.index}): {in_words(error)}'
        ) from error


def _check_methods(tracker: object, name: str) -> None:
    """Refuse an object without a tracker's methods before any frame is read."""
    if isinstance(tracker, type):
        raise TrackerError(f"tracker {tracker.__name__} is a class, expected an object of it.")
    for method in ("start", "step"):
        if not callable(getattr(tracker, method, None)):
            raise TrackerError(f'tracker "{name}" is a {type(tracker).__name__}, which has no method {method}.')


def _batch_of(tracker: object, name: str) -> int:
    """Number of frames that the tracker encodes in one batch."""
    wanted = getattr(tracker, "encode_batch", 1)
    try:
        return max(1, int(wanted))
    except (TypeError, ValueError):
        raise TrackerError(f'tracker "{name}": encode_batch is {wanted!r}, expected a number of frames.') from None


def _checked_prediction(prediction: object, known: set[int], size: Size) -> Prediction:
    """Refuse what is no prediction of known objects in a frame of ``size``, and make infinite logits finite."""
    if not isinstance(prediction, Prediction):
        raise TypeError(f"step returned {type(prediction).__name__}, expected a vos.Prediction")
    strange = sorted(set(prediction.object_ids) - known)
    if strange:
        raise ValueError(f"prediction has object ids {strange} that no annotation gave (known: {sorted(known)})")
    scores = prediction.scores
    if scores is not None and not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores are {scores.tolist()}, expected values from 0 to 1")
    answer = prediction.logits if prediction.label_map is None else prediction.label_map
    if answer.shape[-2:] == size[::-1] != size:
        raise ValueError(
            f"step answered with (H, W) {answer.shape[-2:]} for a frame of {size}: rows and columns are swapped"
        )
    if prediction.label_map is not None or not prediction.logits.size:
        return prediction
    lowest, highest = prediction.logits.min(), prediction.logits.max()
    if np.isnan(lowest):
        raise ValueError("logits hold NaN")
    if np.isinf(lowest) or np.isinf(highest):
        # Between infinite logits, resizing gives NaN.
        finite = prediction.logits.clip(-LARGEST_LOGIT, LARGEST_LOGIT)
        return Prediction(prediction.object_ids, finite, prediction.scores, prediction.present)
    return prediction

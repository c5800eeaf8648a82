"""Calls a tracker as the host does, and checks at each call what every call promises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vos.host.merging import merge_objects
from vos.testing.contract import ContractError
from vos.testing.kits.methods import check_methods, offers
from vos.testing.sequences import TinySequence
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.label_map import object_ids
from vos.types.prediction import Prediction

OPTIONAL_METHODS = {"annotate": 2, "forget": 1, "save": 1, "load": 1, "close": 0, "encode": 1, "encode_ahead": 1}
"""How many arguments each method takes that a tracker may have."""

ABOUT_ROWS = ("vanishing", "later-objects", "corrections", "forgetting", "fresh-start", "small-objects")
"""Clauses that say more than ``ids`` of which rows a prediction has."""


class Driver:
    """One tracker under test.

    Attributes:
        tracker: the tracker.
        known: ids that its next prediction must have.
        clause: the contract's clause to name where the driver cannot tell a better one.
    """

    def __init__(self, tracker: Any, clause: str) -> None:
        self.tracker = tracker
        self.clause = clause
        self.known: tuple[int, ...] = ()
        self._order: tuple[int, ...] | None = None
        self.encodes = offers(tracker, "encode")

    def encode(self, frames: Sequence[Frame], method: str = "encode") -> list[Any]:
        """Encode frames, or with ``method`` "encode_ahead"; check that there is one encoding for each."""
        before = [frame.image.copy() for frame in frames]
        encodings = self._call(method, f"frames {frames[0].name} to {frames[-1].name}", list(frames))
        for frame, image in zip(frames, before, strict=True):
            self._check_unchanged(method, frame, image)
        if not isinstance(encodings, Sequence) or len(encodings) != len(frames):
            found = f"{len(encodings)} items" if isinstance(encodings, Sequence) else f"a {type(encodings).__name__}"
            raise ContractError(
                "encoding", f"{method} gave {found} for {len(frames)} frames, expected a list of one each."
            )
        return list(encodings)

    def start(self, frame: Frame, label_map: LabelMap, encoding: Any = None) -> None:
        """Begin a sequence."""
        self._call_read_only("start", frame, label_map, *self._encoding(frame, encoding))
        self.known = object_ids(label_map)
        self._order = None

    def step(self, frame: Frame, encoding: Any = None) -> Prediction:
        """Segment a frame, and check the answer's form and ids."""
        prediction = self._call_read_only("step", frame, None, *self._encoding(frame, encoding))
        check_prediction(prediction, frame)
        assert isinstance(prediction, Prediction)
        ids = prediction.object_ids
        if sorted(ids) != sorted(self.known):
            clause = self.clause if self.clause in ABOUT_ROWS else "ids"
            raise ContractError(
                clause, f"step on frame {frame.name} gave rows for {_listed(ids)}, expected {_listed(self.known)}."
            )
        if self._order is not None and ids != self._order:
            raise ContractError("ids", f"step on frame {frame.name} changed the rows from {self._order} to {ids}.")
        self._order = ids
        return prediction

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add or correct objects."""
        self._call_read_only("annotate", frame, label_map)
        self.known = tuple(sorted({*self.known, *object_ids(label_map)}))
        self._order = None

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self._call("forget", f"object {object_id}", object_id)
        self.known = tuple(i for i in self.known if i != object_id)
        self._order = None

    def save(self, path: Path) -> None:
        """Write the tracker's state."""
        self._call("save", f"file {path.name}", path)

    def load(self, path: Path, known: Sequence[int]) -> None:
        """Load a state in which objects are known."""
        self._call("load", f"file {path.name}", path)
        self.known = tuple(known)
        self._order = None

    def close(self) -> None:
        """Close the tracker if it has ``close``."""
        if offers(self.tracker, "close"):
            self._call("close", "the tracker")

    def run(self, sequence: TinySequence, annotate: bool = True) -> list[LabelMap]:
        """Track a sequence from its first frame.

        Args:
            sequence: what to track.
            annotate: give the later annotations too, where the tracker takes them.
        Returns:
            A label map for each frame; the first is the annotation.
        """
        first, *later = sequence.annotations
        self.start(sequence.frame(first.frame_index), first.label_map)
        given = {annotation.frame_index: annotation.label_map for annotation in later}
        label_maps = [first.label_map]
        for position in range(first.frame_index + 1, len(sequence.images)):
            frame = sequence.frame(position)
            label_maps.append(merge_objects(self.step(frame), frame.size))
            if annotate and position in given and offers(self.tracker, "annotate"):
                self.annotate(frame, given[position])
        return label_maps

    def _encoding(self, frame: Frame, encoding: Any) -> tuple[Any, ...]:
        if not self.encodes:
            return ()
        return (self.encode([frame])[0] if encoding is None else encoding,)

    def _call_read_only(self, method: str, frame: Frame, label_map: LabelMap | None, *more: Any) -> Any:
        """Call a method with a frame and an optional label map; check that it changes neither."""
        image = frame.image.copy()
        given: tuple[Any, ...] = (frame,)
        if label_map is not None:
            shown = label_map.copy()
            shown.flags.writeable = False
            given = (frame, shown)
        answer = self._call(method, f"frame {frame.name}", *given, *more)
        self._check_unchanged(method, frame, image)
        if label_map is not None and not np.array_equal(shown, label_map):
            raise ContractError("read-only", f"{method} on frame {frame.name} changed the label map that it was given.")
        return answer

    def _check_unchanged(self, method: str, frame: Frame, image: LabelMap) -> None:
        if not np.array_equal(frame.image, image):
            raise ContractError("read-only", f"{method} on frame {frame.name} changed the frame's image.")

    def _call(self, method: str, what: str, *arguments: Any) -> Any:
        try:
            return getattr(self.tracker, method)(*arguments)
        except Exception as error:
            clause = "read-only" if "read-only" in str(error) else self.clause
            text = f"{type(error).__name__}: {error}"
            raise ContractError(clause, f"{method} on {what} raised {text}") from error


def check_tracker_methods(tracker: object) -> None:
    """Check that the methods are there and take what the host gives them.

    Args:
        tracker: anything.
    Raises:
        ContractError: ``start`` or ``step`` is missing, or a method cannot take its arguments.
    """
    if offers(tracker, "encode_ahead") and not offers(tracker, "encode"):
        raise ContractError("methods", f"{type(tracker).__name__} has encode_ahead, which needs encode beside it.")
    if offers(tracker, "save") != offers(tracker, "load"):
        raise ContractError("methods", f"{type(tracker).__name__} has only one of save and load.")
    one_more = offers(tracker, "encode")
    needed = {"start": 2 + one_more, "step": 1 + one_more}
    check_methods("methods", tracker, needed, OPTIONAL_METHODS)


def check_prediction(prediction: object, frame: Frame) -> None:
    """Check the form of a tracker's answer; ``Prediction`` itself has checked shapes and types.

    Args:
        prediction: what ``step`` returned.
        frame: the frame.
    Raises:
        ContractError: not a ``Prediction``, or values that are not finite or out of range.
    """
    where = f"step on frame {frame.name}"
    if not isinstance(prediction, Prediction):
        raise ContractError("prediction", f"{where} returned a {type(prediction).__name__}, expected a vos.Prediction.")
    bad = int((~np.isfinite(prediction.logits)).sum())
    if bad:
        raise ContractError("prediction", f"{where} gave {bad} logits that are NaN or infinite.")
    scores = prediction.scores
    if scores is not None and not ((scores >= 0) & (scores <= 1)).all():
        raise ContractError("prediction", f"{where} gave scores {scores.tolist()}, expected values from 0 to 1.")


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(ids))) if ids else "no object"

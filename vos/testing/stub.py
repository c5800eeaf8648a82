"""A tracker that leaves every object where it was last annotated, and records the calls that it received."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vos.io.state_file import read_state, write_state
from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.label_map import object_ids
from vos.types.prediction import Prediction


class StubTracker:
    """The simplest tracker with every capability but ``encode``; keeps the whole contract.

    Attributes:
        calls: the calls received so far, such as ``("step", 3)``: the method, and the frame's index
            or (``forget``) the object's id; ``("close", None)``.
        fail_at: index of the frame whose ``step`` raises ``RuntimeError``; None for never.
    """

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at
        self.calls: list[tuple[str, int | None]] = []
        self._ids: list[int] = []
        self._label_map: LabelMap | None = None

    def start(self, frame: Frame, label_map: LabelMap) -> None:
        """As ``vos.plugin.Tracker.start``."""
        self.calls.append(("start", frame.index))
        self._ids = list(object_ids(label_map))
        self._label_map = label_map.copy()

    def step(self, frame: Frame) -> Prediction:
        """As ``vos.plugin.Tracker.step``: the annotated label map again."""
        self.calls.append(("step", frame.index))
        if frame.index == self.fail_at:
            raise RuntimeError("the stub is set to fail here")
        if self._label_map is None:
            raise RuntimeError("step before start")
        return Prediction.from_label_map(self._label_map.copy(), self._ids)

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """As ``vos.plugin.AnnotatingTracker.annotate``."""
        self.calls.append(("annotate", frame.index))
        assert self._label_map is not None, "annotate before start"
        given = object_ids(label_map)
        kept = np.where(np.isin(self._label_map, given), 0, self._label_map)
        self._label_map = np.where(label_map > 0, label_map, kept).astype(np.uint8)
        self._ids += [i for i in given if i not in self._ids]

    def forget(self, object_id: int) -> None:
        """As ``vos.plugin.ForgettingTracker.forget``."""
        self.calls.append(("forget", object_id))
        assert self._label_map is not None, "forget before start"
        self._ids.remove(object_id)
        self._label_map = np.where(self._label_map == object_id, 0, self._label_map).astype(np.uint8)

    def save(self, path: Path) -> None:
        """As ``vos.plugin.SavingTracker.save``."""
        self.calls.append(("save", None))
        assert self._label_map is not None, "save before start"
        write_state(path, {"label_map": self._label_map}, {"ids": self._ids})

    def load(self, path: Path) -> None:
        """As ``vos.plugin.SavingTracker.load``."""
        arrays, facts = read_state(path)
        self.calls.append(("load", None))
        self._ids, self._label_map = facts["ids"], arrays["label_map"]

    def close(self) -> None:
        """As ``vos.plugin.ClosingTracker.close``."""
        self.calls.append(("close", None))


class StubEncodingTracker:
    """A stub whose encoding of a frame is the frame's index: wrong pairs raise ``RuntimeError``.

    Attributes:
        encode_batch: number of frames that the host passes to one ``encode``.
        batches: number of frames in each call of ``encode``.
        calls: as for ``StubTracker``.
    """

    def __init__(self, encode_batch: int = 2, fail_at: int | None = None) -> None:
        self.encode_batch = encode_batch
        self.batches: list[int] = []
        self._stub = StubTracker(fail_at)
        self.calls = self._stub.calls

    def encode(self, frames: Sequence[Frame]) -> list[int]:
        """As ``vos.plugin.EncodingTracker.encode``."""
        self.batches.append(len(frames))
        return [frame.index for frame in frames]

    def start(self, frame: Frame, label_map: LabelMap, encoding: int) -> None:
        """As ``vos.plugin.EncodingTracker.start``."""
        self._check(frame, encoding)
        self._stub.start(frame, label_map)

    def step(self, frame: Frame, encoding: int) -> Prediction:
        """As ``vos.plugin.EncodingTracker.step``."""
        self._check(frame, encoding)
        return self._stub.step(frame)

    def _check(self, frame: Frame, encoding: int) -> None:
        if encoding != frame.index:
            raise RuntimeError(f"frame {frame.index} came with the encoding of frame {encoding}")

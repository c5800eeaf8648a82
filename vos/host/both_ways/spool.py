"""Frames of a backward pass: they wait on disk until the forward pass, or the writers, come to them."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import IO, Any

import numpy as np

from vos.errors import InputError
from vos.types.arrays import AnyArray, FloatArray, Image, LabelMap
from vos.types.prediction import Prediction


class BackwardSpool:
    """Label maps and predictions by frame index, in a file without a name: it goes with the spool, or its process."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._places: dict[str, tuple[int, int]] = {}  # position and length, bytes

    def __enter__(self) -> BackwardSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what is stored."""
        file, self._file = self._file, None
        self._places = {}
        if file is not None:
            with suppress(OSError):  # a full disk
                file.close()

    def put(self, index: int, label_map: LabelMap, prediction: Prediction, object_ids: Collection[int]) -> None:
        """Store a frame.

        Args:
            index: of the frame.
            label_map: uint8 (H, W).
            prediction: of the frame; its logits are kept as probabilities in steps of 1/65536.
            object_ids: whose rows of the prediction are kept.
        Raises:
            InputError: the temporary folder cannot hold it.
        """
        rows = [row for row, object_id in enumerate(prediction.object_ids) if object_id in object_ids]
        stored: dict[str, Any] = {"ids": np.array([prediction.object_ids[row] for row in rows], np.int64)}
        if prediction.scores is not None:
            stored["scores"] = prediction.scores[rows]
        if prediction.present is not None:
            stored["present"] = prediction.present[rows]
        stored["label_map"] = _png(label_map)
        if prediction.label_map is None and rows:
            logits = prediction.logits[rows]
            stored["shape"] = np.array(logits.shape)
            stored["soft"] = _png(_to_probabilities(logits).reshape(-1, logits.shape[2]))
        self._save(str(index), stored)

    def put_image(self, index: int, image: Image) -> None:
        """Store a frame's image: uint8 (H, W, 3).

        Raises:
            InputError: as ``put``.
        """
        self._save(f"{index}-image", {"image": _png(image)})

    def take_image(self, index: int) -> Image | None:
        """Return a frame's image, and remove it; None if it is not there."""
        held = self._load(f"{index}-image")
        return None if held is None else _pixels(held["image"])

    def take(self, index: int) -> tuple[LabelMap, Prediction] | None:
        """Return a frame's label map and prediction, and remove them; None if the frame is not there."""
        held = self._load(str(index))
        if held is None:
            return None
        ids, scores, present = held["ids"].tolist(), held.get("scores"), held.get("present")
        label_map = _pixels(held["label_map"])
        if "soft" in held:
            logits = _to_logits(_pixels(held["soft"]).reshape(held["shape"]))
            return label_map, Prediction(ids, logits, scores, present)
        drawn = np.where(np.isin(label_map, ids), label_map, 0).astype(np.uint8)
        return label_map, Prediction.from_label_map(drawn, ids, scores, present)

    def _save(self, name: str, arrays: dict[str, Any]) -> None:
        content = io.BytesIO()
        np.savez(content, **arrays)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
            begin = self._file.seek(0, os.SEEK_END)
            self._file.write(content.getbuffer())
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()}: cannot hold the frames that are tracked backward ({error.strerror}). "
                "Name a folder with more room in TMPDIR."
            ) from error
        self._places[name] = begin, content.tell()

    def _load(self, name: str) -> dict[str, Any] | None:
        place = self._places.pop(name, None)
        if place is None:
            return None
        assert self._file is not None, "something was stored"
        self._file.seek(place[0])
        with np.load(io.BytesIO(self._file.read(place[1]))) as stored:
            return dict(stored)


def _to_probabilities(logits: FloatArray) -> AnyArray:
    """Turn logits into probabilities, uint16: 32768 and more where the logit is 0 or more."""
    return np.minimum(65536 / (1 + np.exp(-np.clip(logits, -20, 20))), 65535).astype(np.uint16)


def _to_logits(probabilities: AnyArray) -> FloatArray:
    """Turn what ``_to_probabilities`` gives back into logits, of the same sign."""
    prob = (probabilities.astype(np.float64) + 0.5) / 65536
    return np.asarray(np.log(prob / (1 - prob)), dtype=np.float32)


def _png(plane: AnyArray) -> AnyArray:
    import cv2  # here, so that `import vos` stays quick

    good, content = cv2.imencode(".png", np.ascontiguousarray(plane), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert good, "planes of 8 and 16 bits can be encoded"
    return np.asarray(content)


def _pixels(content: AnyArray) -> AnyArray:
    import cv2

    return np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED))

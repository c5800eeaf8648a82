"""A tracker's output for one frame: logits, scores and presence of each object."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vos.types.arrays import BoolArray, FloatArray, LabelMap
from vos.types.label_map import MAX_OBJECT_ID, masks_of
from vos.types.label_map import object_ids as ids_in

Scalar = TypeVar("Scalar", bound=np.generic)


class Prediction:
    """A tracker's output for one frame: a row of logits for each object. Arrays are read-only.

    Attributes:
        object_ids: K ids from 1 to 254, each once; row k of every array belongs to ``object_ids[k]``.
        logits: float32 (K, h, w) before the sigmoid, at any resolution of the frame's whole view;
            ``mask = logits > 0``.
        scores: float32 (K,), the tracker's confidence in each row, in [0, 1]; None if it has none.
        present: bool (K,), False where the object is not in this frame; None means all are present.
        label_map: uint8 (H, W) if the prediction was made from one, else None.
    """

    def __init__(
        self,
        object_ids: Sequence[int],
        logits: FloatArray,
        scores: npt.ArrayLike | None = None,
        present: npt.ArrayLike | None = None,
    ) -> None:
        """Validate and store one frame's output.

        Args:
            object_ids: K ids.
            logits: float32 (K, h, w); other float types are converted.
            scores: (K,) in [0, 1], or None.
            present: (K,) bool, or None.
        Raises:
            ValueError: ids out of 1..254 or repeated, or arrays whose shapes do not fit them.
        """
        self._set(object_ids, scores, present)
        array = np.asarray(logits, dtype=np.float32)
        if array.ndim != 3 or array.shape[0] != len(self.object_ids) or (array.shape[0] and 0 in array.shape):
            raise ValueError(
                f"logits are {array.shape} for {len(self.object_ids)} object ids, "
                "expected (K, h, w) with one row for each id"
            )
        self.logits = _read_only(array)

    @classmethod
    def from_label_map(
        cls,
        label_map: LabelMap,
        object_ids: Sequence[int] | None = None,
        scores: npt.ArrayLike | None = None,
        present: npt.ArrayLike | None = None,
    ) -> Prediction:
        """Make a prediction from a label map, for a tracker that has no logits.

        Args:
            label_map: uint8 (H, W): 0 and object ids.
            object_ids: all objects that the tracker knows; by default those in the label map.
            scores: as in the constructor.
            present: as in the constructor; by default, the ids that the label map holds.
        Returns:
            A prediction whose logits are +1 on an object and -1 elsewhere, computed on first access.
        Raises:
            ValueError: not uint8 (H, W), or it holds an id that is not in ``object_ids``.
        """
        label_map = np.asarray(label_map)
        if label_map.dtype != np.uint8 or label_map.ndim != 2:
            raise ValueError(f"label map is {label_map.dtype} {label_map.shape}, expected uint8 (H, W)")
        held = ids_in(label_map)
        ids = held if object_ids is None else tuple(int(i) for i in object_ids)
        if not set(held) <= set(ids) or (label_map == MAX_OBJECT_ID + 1).any():
            raise ValueError(f"label map holds ids {held} (or void), expected only 0 and {ids}")
        self = cls.__new__(cls)
        self._set(ids, scores, [i in held for i in ids] if present is None else present)
        self.label_map = _read_only(label_map)
        return self

    def _set(self, object_ids: Sequence[int], scores: npt.ArrayLike | None, present: npt.ArrayLike | None) -> None:
        ids = tuple(int(i) for i in object_ids)
        if len(set(ids)) != len(ids) or not all(1 <= i <= MAX_OBJECT_ID for i in ids):
            raise ValueError(f"object ids are {ids}, expected different ids from 1 to {MAX_OBJECT_ID}")
        self.object_ids: tuple[int, ...] = ids
        self.scores: FloatArray | None = None
        self.present: BoolArray | None = None
        self.label_map: LabelMap | None = None
        if scores is not None:
            self.scores = _read_only(np.asarray(scores, dtype=np.float32))
        if present is not None:
            self.present = _read_only(np.asarray(present, dtype=np.bool_))
        for name, array in (("scores", self.scores), ("present", self.present)):
            if array is not None and array.shape != (len(ids),):
                raise ValueError(f"{name} has shape {array.shape}, expected ({len(ids)},)")

    @cached_property
    def logits(self) -> FloatArray:
        """float32 (K, h, w); see the class."""
        assert self.label_map is not None, "set by the constructor unless made from a label map"
        masks = masks_of(self.label_map, self.object_ids)
        return _read_only(np.where(masks, np.float32(1), np.float32(-1)))


def _read_only(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    view: npt.NDArray[Scalar] = array.view()
    view.flags.writeable = False
    return view

"""One frame's result, as the frame loop gives it."""

from __future__ import annotations

from dataclasses import dataclass

from vos.types.arrays import LabelMap
from vos.types.frame import Frame
from vos.types.prediction import Prediction


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

    @classmethod
    def of(cls, frame: Frame, prediction: Prediction, label_map: LabelMap) -> TrackedFrame:
        """Make a result whose label map cannot be written to.

        Args:
            frame: the frame.
            prediction: of the frame.
            label_map: uint8 (H, W); itself stays writable.
        """
        return cls(frame, prediction, read_only(label_map))

    @classmethod
    def annotated(cls, frame: Frame, label_map: LabelMap, ids: list[int] | None = None) -> TrackedFrame:
        """Make the result of an annotated frame.

        Args:
            frame: the frame.
            label_map: uint8 (H, W), the annotation or a mask with the annotation over it.
            ids: the rows of the prediction; None for the ids of the label map.
        """
        return cls.of(frame, Prediction.from_label_map(label_map, ids), label_map)


def read_only(label_map: LabelMap) -> LabelMap:
    """Return a view of a label map that refuses writing."""
    view: LabelMap = label_map.view()
    view.flags.writeable = False
    return view

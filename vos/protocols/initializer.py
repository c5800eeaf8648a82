"""The initializer protocol: segment one frame into the label map that tracking starts from."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from vos.types.arrays import LabelMap
from vos.types.frame import Frame


@runtime_checkable
class Initializer(Protocol):
    """Makes a label map of one frame from its options (points, boxes, a text, or nothing)."""

    def initialize(self, frame: Frame) -> LabelMap:
        """Find the objects of a frame.

        Args:
            frame: the frame to annotate; its image is read-only.
        Returns:
            uint8 (H, W), the frame's size: 0 and ids 1..254.
        Raises:
            EmptyMaskError: nothing was found; the message says what to try.
        """
        ...

"""The initializer protocol: segment one frame into the label map that tracking starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@runtime_checkable
class ClipInitializer(Initializer, Protocol):
    """An initializer that also looks at frames around the one to annotate, such as for motion.

    It is asked by ``initialize_in_clip`` where the frame is of a video, and by ``initialize`` where it stands alone.

    Attributes:
        neighbours: distances of the frames that it wants, such as (1, 3, -1, -3); negative ones are earlier.
    """

    neighbours: Sequence[int]

    def initialize_in_clip(self, frame: Frame, others: Mapping[int, Frame]) -> LabelMap:
        """Find the objects of a frame of a video.

        Args:
            frame: the frame to annotate; all images are read-only.
            others: by their distance, those of the wanted frames that the video has; maybe none.
        Returns:
            uint8 (H, W), the frame's size: 0 and ids 1..254.
        Raises:
            EmptyMaskError: nothing was found; the message says what to try.
        """
        ...

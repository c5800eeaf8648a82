"""The frame and state from which a stopped run continues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vos.types.arrays import LabelMap
from vos.types.run import DoubtfulSpan


@dataclass(frozen=True)
class ResumePoint:
    """The last frame, on the way forward, that a stopped run left whole.

    Attributes:
        frame_index: of that frame; tracking continues after it.
        state: file of the tracker's state after that frame, with which masks become those of an unbroken run; None
            where the tracker starts again from ``label_map``.
        label_map: uint8 (H, W), the frame's mask; None with ``state``.
        doubts: doubtful spans up to that frame; none with ``label_map``.
    """

    frame_index: int
    state: Path | None = None
    label_map: LabelMap | None = None
    doubts: tuple[DoubtfulSpan, ...] = ()

    def after(self, indices: range) -> range:
        """The frames of the way forward that are left."""
        return indices[indices.index(self.frame_index) + 1 :]

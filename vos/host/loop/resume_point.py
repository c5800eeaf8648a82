"""The frame and state from which a stopped run continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vos.host.doubts import DoubtEntry
from vos.types.arrays import LabelMap


@dataclass(frozen=True)
class ResumePoint:
    """The last frame, on the way forward, that a stopped run left whole.

    Attributes:
        frame_index: of that frame; tracking continues after it.
        label_map: uint8 (H, W), the frame's mask.
        entries: what the detector of doubtful spans found in each frame, that one the last.
        state: file of the tracker's state after that frame, with which masks become those of an unbroken run; None
            where the tracker starts again from ``label_map``.
    """

    frame_index: int
    label_map: LabelMap
    entries: Sequence[DoubtEntry]
    state: Path | None = None

    def after(self, indices: range) -> range:
        """The frames of the way forward that are left."""
        return indices[indices.index(self.frame_index) + 1 :]

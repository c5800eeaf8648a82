"""Stage ``memory``: store the frame's labels in the memory, and update the target model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vos_propagation.stages.redetection import Redetection
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class MemoryUpdate(Stage):
    """Updates the memory."""

    name = "memory"

    def __init__(self, redetection: Redetection | None) -> None:
        """Make the stage; ``redetection`` stores views of well visible objects, None if that stage is left out."""
        self._redetection = redetection

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Store the frame, and learn from it."""
        memory = sequence.memory
        memory.update(frame.features, frame.match_keys, frame.prob_s8)
        if self._redetection is not None and memory.is_view_due():
            self._redetection.update_views(frame, sequence)

"""Stage ``memory``: store the frame's labels in the memory, and update the target model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vos_propagation.config import MemoryConfig
from vos_propagation.memory.manager import contradicts_anchors
from vos_propagation.ops.resampling import downsample2x
from vos_propagation.stages.redetection import Redetection
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class MemoryUpdate(Stage):
    """Updates the memory; cells with doubtful labels are ignored."""

    name = "memory"

    def __init__(self, config: MemoryConfig, redetection: Redetection | None) -> None:
        """Make the stage; ``redetection`` stores views of well visible objects, None if that stage is left out."""
        self._config = config
        self._redetection = redetection

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Store the frame, and learn from it."""
        labels = downsample2x(frame.prob_s4)
        ignore = frame.ignore_mask_s8
        ignore = torch.zeros_like(labels[0], dtype=torch.bool) if ignore is None else ignore
        ignore = ignore | contradicts_anchors(
            labels[1:] * ~ignore, frame.anchor_score_s8, self._config.rejected_score, self._config.changed_share
        )
        learnt = sequence.memory.update(frame.features, frame.match_keys, frame.prob_s4, ignore)
        if self._redetection is not None and sequence.memory.is_view_due():
            self._redetection.update_views(frame, sequence, learnt[1:])

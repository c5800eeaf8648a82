"""Stage ``verification``: reject masks suddenly unlike their object, after a cut or where something passes in front."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vos_propagation.ops.resampling import downsample2x, to_label_prob
from vos_propagation.stages.decoder_network import LOGIT_LIMIT
from vos_propagation.stages.redetection import Redetection
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Verification(Stage):
    """Changes ``logits_s4``: an object whose mask is rejected is lost, and searched for from the next frame on."""

    name = "verification"

    def __init__(self, redetection: Redetection) -> None:
        """Make the stage; ``redetection`` keeps the objects' views."""
        self._redetection = redetection

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Compare each decoded mask with its object's views."""
        labels = downsample2x(to_label_prob(torch.sigmoid(frame.logits_s4)))[1:]
        redetector, cells = self._redetection.redetector, frame.features.cells_s16
        rejected = redetector.reject_unlike(sequence.object_ids, cells, labels)
        frame.logits_s4[rejected] = -LOGIT_LIMIT

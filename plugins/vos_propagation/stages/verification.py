"""Stage ``verification``: reject masks suddenly unlike their object, after a cut or where something passes in front.

A blurred object is unlike its views too, but the decoder is certain of it: only uncertain masks are rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

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
        redetector, certain = self._redetection.redetector, certainty(frame.prob_s4[1:])
        frame.reject(
            redetector.reject_unlike(sequence.object_ids, frame.features.cells_s16, frame.prob_s8[1:], certain)
        )


def certainty(prob: Tensor) -> list[float]:
    """Return the mean of each row's probabilities above 0.5, (K, h, w); 0 for a row without."""
    inside = prob > 0.5
    means: list[float] = ((prob * inside).sum((1, 2)) / inside.sum((1, 2)).clamp_min(1)).tolist()
    return means

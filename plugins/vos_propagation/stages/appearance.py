"""Stage ``appearance``: scores of each object by its appearance, wherever it is, from the target model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vos_propagation.stages.distractors import with_distractors
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Appearance(Stage):
    """Fills ``target_score_s8`` and ``score_s8``."""

    name = "appearance"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Score every cell by the target model."""
        scores = sequence.memory.target_model.scores(frame.features.samples)
        frame.target_score_s8 = scores.view(-1, *frame.features.cells.shape[1:])[1:]
        frame.score_s8 = with_distractors(frame.target_score_s8, sequence.distractors)

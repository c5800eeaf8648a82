"""Stage ``appearance``: scores of each object by its appearance, wherever it is, from the target model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vos_propagation.stages.distractors import with_distractors
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Appearance(Stage):
    """Fills ``target_score_s8``, ``score_s8`` and ``anchor_score_s8``."""

    name = "appearance"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Score every cell by the target model of all frames, and by that of the annotated frames alone."""
        size = frame.features.cells.shape[1:]
        both = sequence.memory.target_model.scores(frame.features.samples)
        score, anchor_score = (plane.view(-1, *size)[1:] for plane in both)
        frame.target_score_s8 = score
        frame.score_s8 = with_distractors(score, sequence.distractors)
        frame.anchor_score_s8 = with_distractors(anchor_score, sequence.distractors)

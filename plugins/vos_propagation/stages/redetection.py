"""Stage ``redetection``: search the whole frame for lost objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vos.plugin import FloatArray
from vos_propagation.config import RedetectionConfig
from vos_propagation.ops.resampling import downsample2x, upsample2x
from vos_propagation.redetection.redetector import MIN_HELD_SHARE, Redetector
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Redetection(Stage):
    """Changes ``votes`` and the warped masks."""

    name = "redetection"
    saved = ("redetector",)

    def __init__(self, config: RedetectionConfig) -> None:
        self._config = config
        self.redetector = Redetector(config)

    def reset(self) -> None:
        """Drop all objects."""
        self.redetector = Redetector(self._config)

    def annotate(self, sequence: SequenceState, object_id: int, share: FloatArray) -> None:
        """Make a view of the annotated object."""
        labels = downsample2x(sequence.prob)[1 + sequence.object_ids.index(object_id)]
        self.redetector.annotate(object_id, sequence.features.cells_s16, sequence.features.chroma, labels)

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.redetector.forget(object_id)

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Support the votes of objects that are found."""
        votes, features = frame.votes.labels, frame.features
        found = self.redetector.step(sequence.object_ids, features.cells_s16, features.chroma, votes, frame.score_s8)
        for row in found:
            now, last = votes[row + 1], frame.warped_s8[row]
            if not (last[now > MIN_HELD_SHARE] > MIN_HELD_SHARE).any():
                # The last mask does not tell where the object is now.
                frame.warped_s8[row] = now
                frame.warped_s4[row] = upsample2x(now[None, None])[0, 0]

    def update_views(self, frame: FrameState, sequence: SequenceState) -> None:
        """Add views of well visible objects."""
        cells, chroma = frame.features.cells_s16, frame.features.chroma
        self.redetector.update_views(sequence.object_ids, cells, chroma, frame.prob_s8[1:], frame.score_s8)

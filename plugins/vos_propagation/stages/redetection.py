"""Stage ``redetection``: reject votes that no longer look like their object, and search the frame for lost objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vos.plugin import FloatArray
from vos_propagation.config import RedetectionConfig
from vos_propagation.ops.resampling import downsample2x, upsample2x
from vos_propagation.redetection.redetector import MIN_HELD_SHARE, Redetector
from vos_propagation.stages.distractors import with_distractors
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Redetection(Stage):
    """Changes ``votes`` and the warped masks; fills ``found_rows`` and ``ignore_mask_s8``."""

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
        labels = downsample2x(sequence.prob)[1:]
        row = sequence.object_ids.index(object_id)
        summed = with_distractors(labels, sequence.distractors)
        features = sequence.features
        self.redetector.annotate(object_id, features.cells_s16, features.chroma, labels[row], summed[row])

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.redetector.forget(object_id)

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Verify each object's votes, and search for the objects that are doubted."""
        votes = frame.votes.labels
        result = self.redetector.step(
            sequence.object_ids,
            frame.features.cells_s16,
            frame.features.chroma,
            votes,
            frame.score_s8,
            frame.votes.similarity,
            sequence.distractors,
        )
        frame.warped_s4[result.rejected_rows] = 0
        frame.warped_s8[result.rejected_rows] = 0
        frame.ignore_mask_s8 = result.ignore_mask
        frame.found_rows = result.found_rows
        for row in result.found_rows:
            found, last = votes[row + 1], frame.warped_s8[row]
            if not (last[found > MIN_HELD_SHARE] > MIN_HELD_SHARE).any():
                # The last mask does not tell where the object is now.
                frame.warped_s8[row] = found
                frame.warped_s4[row] = upsample2x(found[None, None])[0, 0]

    def update_views(self, frame: FrameState, sequence: SequenceState, labels: torch.Tensor) -> None:
        """Add views of well visible objects; ``labels`` is float32 (K, h8, w8)."""
        summed = with_distractors(labels, sequence.distractors)
        cells, chroma = frame.features.cells_s16, frame.features.chroma
        self.redetector.update_views(sequence.object_ids, cells, chroma, labels, summed, frame.score_s8)

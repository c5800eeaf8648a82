"""Base class of the pipeline's stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from vos.plugin import FloatArray

if TYPE_CHECKING:
    from vos_propagation.backbone.features import FrameFeatures
    from vos_propagation.frame_state import FrameState, SequenceState


class Stage:
    """A step of the pipeline: reads some fields of the frame's state and fills others.

    Attributes:
        name: the stage's name in ``-O stages=-name``, which leaves it out.
        saved: names of the attributes that hold state of the sequence, which ``PropagationTracker.save`` writes; their
            classes are in ``saved_state.KINDS``.
    """

    name: ClassVar[str]
    saved: ClassVar[tuple[str, ...]] = ()

    def reset(self) -> None:
        """Begin a new sequence: drop the state of the one before."""

    def encode(self, features: FrameFeatures) -> FrameFeatures:
        """Add what the stage computes from the image alone, once for all objects; ``levels`` are still there."""
        return features

    def annotate(self, sequence: SequenceState, object_id: int, share: FloatArray) -> None:
        """Add or correct an annotated object.

        Args:
            sequence: holds the annotation in ``memory`` and ``prob``, and the annotated frame's ``features``.
            object_id: new or known.
            share: float32 (h4, w4), the object's share of each cell.
        """

    def forget(self, object_id: int) -> None:
        """Drop an object."""

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Process a frame."""
        raise NotImplementedError

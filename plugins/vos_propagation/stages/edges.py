"""Stage ``edges``: logits at the working size that follow the edges of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vos_propagation.ops.guided_filter import CELL, refine_edges
from vos_propagation.ops.logit_buffers import LogitBufferPool
from vos_propagation.stages.decoder_network import LOGIT_LIMIT
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Edges(Stage):
    """Fills ``logits``."""

    name = "edges"

    def __init__(self) -> None:
        self._buffers = LogitBufferPool(-LOGIT_LIMIT)

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Apply the guided filter around each object; elsewhere logits are the lowest."""
        logits = frame.logits_s4
        buffer = self._buffers.acquire((len(logits), CELL * logits.shape[1], CELL * logits.shape[2]), logits)
        refine_edges(logits, frame.features.edges, buffer)
        frame.logits = buffer.export()

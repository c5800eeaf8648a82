"""Stage ``matching``: label votes of the memory's most similar cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vos_propagation.config import MatchingConfig
from vos_propagation.memory.label_votes import FineVotes, Votes, local_votes
from vos_propagation.memory.manager import MemoryManager
from vos_propagation.ops.query_tiles import matching_tiles, object_places, tiles_near_objects
from vos_propagation.ops.resampling import downsample2x, upsample2x
from vos_propagation.ops.scratch import ScratchBuffers
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


class Matching(Stage):
    """Fills ``votes`` and ``anchor_votes``."""

    name = "matching"

    def __init__(self, config: MatchingConfig) -> None:
        self._config = config
        self._scratch = ScratchBuffers()

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Match the cells near the objects, where they were and where the flow puts them, with the memory's."""
        support = torch.maximum(downsample2x(sequence.prob[1:]), frame.warped_s8)
        frame.votes, frame.anchor_votes = self.votes(frame.match_keys, support, sequence.memory)

    def votes(self, keys: Tensor, support: Tensor, memory: MemoryManager) -> tuple[FineVotes, Votes]:
        """Let all memory frames vote near the objects, and the annotated ones alone.

        Args:
            keys: (h8 / 2, w8 / 2, 4, D), the frame's match keys.
            support: float32 (K, h8, w8), where each object is expected.
            memory: its frames vote.
        Returns:
            The two votes; a cell that is not near an object is background.
        """
        height, width = support.shape[1:]
        background = support.new_zeros(len(support) + 1, height, width)
        background[0] = 1
        tiles = tiles_near_objects(support, self._config.search_radius)
        if not len(tiles.rows):
            none, fine = support.new_zeros(height, width), upsample2x(background[None])[0]
            return FineVotes(background, none, fine), Votes(background.clone(), none)
        now = object_places(support)
        asked = [(past, matching_tiles(tiles, now, past.places)) for past in memory.frames()]
        every, anchors = local_votes(
            keys,
            memory.store,
            asked,
            tiles,
            self._config.window_radius,
            self._config.top_k,
            len(memory.anchors),
            self._scratch,
        )
        for labels in (every.labels, every.fine, anchors.labels):
            labels[0] += (1 - labels.sum(0)).clamp_min(0)
        return every, anchors

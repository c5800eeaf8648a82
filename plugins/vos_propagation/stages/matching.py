"""Stage ``matching``: label votes by the most similar cells of the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vos_propagation.config import MatchingConfig
from vos_propagation.memory.label_votes import Votes, local_votes
from vos_propagation.memory.manager import MemoryManager
from vos_propagation.ops.query_tiles import matching_tiles, object_places, tiles_near_objects
from vos_propagation.ops.resampling import downsample2x
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
        """Match the cells near the objects' last masks and warped masks with the memory."""
        support = torch.maximum(downsample2x(sequence.prob[1:]), frame.warped_s8)
        frame.votes, frame.anchor_votes = self.votes(frame.match_keys, support, sequence.memory)

    def votes(self, keys: Tensor, support: Tensor, memory: MemoryManager) -> tuple[Votes, Votes]:
        """Vote near the objects: by all memory frames, and by the annotated ones alone.

        Args:
            keys: (h8 / 2, w8 / 2, 4, D), the frame's match keys.
            support: float32 (K, h8, w8), where each object is expected.
            memory: the memory of the sequence.
        Returns:
            The two votes; cells far from every object are background.
        """
        height, width = support.shape[1:]
        background = support.new_zeros(len(support) + 1, height, width)
        background[0] = 1
        tiles = tiles_near_objects(support, self._config.search_radius)
        if not len(tiles.rows):
            no_similarity = support.new_zeros(height, width)
            return Votes(background, no_similarity), Votes(background.clone(), no_similarity)
        now = object_places(support)
        frames = [(past, matching_tiles(tiles, now, past.places)) for past in memory.frames()]
        of_all, of_anchors = local_votes(
            keys,
            memory.store,
            frames,
            tiles,
            self._config,
            len(memory.anchors),
            self._scratch,
        )
        for votes in (of_all, of_anchors):
            votes.labels[0] += (1 - votes.labels.sum(0)).clamp_min(0)
        return of_all, of_anchors

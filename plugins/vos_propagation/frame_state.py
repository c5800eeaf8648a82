"""What the stages share: the state of the sequence, and all that is known of the current frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vos.plugin import FloatArray
from vos_propagation.backbone.features import FrameFeatures
from vos_propagation.memory.label_votes import FineVotes, Votes
from vos_propagation.memory.manager import MemoryManager
from vos_propagation.ops.boxes import Box
from vos_propagation.ops.resampling import downsample2x, to_label_prob
from vos_propagation.stages.distractors import DistractorPair


@dataclass
class SequenceState:
    """What is known of a sequence before the current frame.

    Invariant: row k of every (K, ...) plane belongs to ``object_ids[k]``; planes with a background have it in row 0.

    Attributes:
        memory: annotated and recent frames, and the target model learnt from them.
        features: of the frame before.
        object_ids: the ids of the tracked objects, in the order of their rows.
        prob: float32 (K + 1, h4, w4), the label probabilities of the frame before; sums to 1, row 0 background.
        distractors: pairs of tracked objects that look alike.
    """

    memory: MemoryManager
    features: FrameFeatures
    object_ids: list[int]
    prob: Tensor
    distractors: list[DistractorPair] = field(default_factory=list)


@dataclass
class FrameState:
    """All that is known of the frame that is being tracked; each stage reads some fields and fills others.

    Planes ``_s4`` have a cell for 4x4 pixels of the frame at its working size, ``_s8`` for 8x8.

    Attributes:
        features: what depends on the image alone.
        match_keys: (h8 / 2, w8 / 2, 4, D), what cells are compared by, in blocks of 2x2.
        flow_s4: float32 (h4, w4, 2), backward optical flow, (x, y) cells.
        warped_s4: float32 (K, h4, w4), the last masks, warped by the flow.
        warped_s8: float32 (K, h8, w8), the same.
        target_score_s8: float32 (K, h8, w8), the target model's score of each object.
        score_s8: the same, of the object or of others that look like it.
        anchor_score_s8: the same, by the annotated frames alone.
        votes: of all memory frames, with background in row 0.
        anchor_votes: of the annotated frames alone.
        ignore_mask_s8: bool (h8, w8), cells that the memory must not learn from; None for no cell.
        boxes_s8: for each object, where the decoder looks; None for an object that is nowhere.
        logits_s4: float32 (K, h4, w4), each object's logits, from the decoder on.
        logits: float32 (K, H, W), the same at the working size; None until edges are refined.
    """

    features: FrameFeatures
    match_keys: Tensor
    flow_s4: FloatArray
    warped_s4: Tensor
    warped_s8: Tensor
    target_score_s8: Tensor
    score_s8: Tensor
    anchor_score_s8: Tensor
    votes: FineVotes
    anchor_votes: Votes
    ignore_mask_s8: Tensor | None = None
    boxes_s8: Sequence[Box | None] = ()
    logits_s4: Tensor = field(default_factory=lambda: torch.zeros(0))
    logits: FloatArray | None = None

    @cached_property
    def prob_s4(self) -> Tensor:
        """The label probabilities of the final logits: float32 (K + 1, h4, w4), sums to 1, row 0 background."""
        return to_label_prob(torch.sigmoid(self.logits_s4))

    def full_logits(self) -> FloatArray:
        """Return the logits at the finest size that is known: float32 (K, H, W), or (K, h4, w4)."""
        return self.logits_s4.cpu().numpy() if self.logits is None else self.logits

    @classmethod
    def begin(cls, features: FrameFeatures, sequence: SequenceState) -> FrameState:
        """Assume that nothing moved and nothing is known; what stages that are left out would fill stays so."""
        prob = sequence.prob
        coarse = downsample2x(prob)
        none = torch.zeros_like(coarse[1:])
        unlike = torch.zeros_like(coarse[0])
        return cls(
            features=features,
            match_keys=sequence.memory.match_keys(features),
            flow_s4=np.zeros((*prob.shape[1:], 2), np.float32),
            warped_s4=prob[1:].clone(),
            warped_s8=coarse[1:].clone(),
            target_score_s8=none,
            score_s8=none,
            anchor_score_s8=none,
            votes=FineVotes(coarse.clone(), unlike, prob.clone()),
            anchor_votes=Votes(coarse.clone(), unlike),
        )

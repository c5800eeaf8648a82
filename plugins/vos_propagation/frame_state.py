"""State shared by the stages: of the sequence so far, and of the current frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vos.plugin import BoolArray, FloatArray
from vos_propagation.backbone.features import FrameFeatures
from vos_propagation.memory.label_votes import Votes
from vos_propagation.memory.manager import MemoryManager
from vos_propagation.ops.boxes import Box
from vos_propagation.ops.resampling import downsample2x, to_label_prob
from vos_propagation.stages.decoder_network import LOGIT_LIMIT
from vos_propagation.stages.distractors import DistractorPair


@dataclass
class SequenceState:
    """State of a sequence before the current frame.

    Invariant: row k of every (K, ...) plane belongs to ``object_ids[k]``; planes with a background have it in row 0.

    Attributes:
        memory: annotated and recent frames, and the target model learnt from them.
        features: the features of the frame before.
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
    """State of the current frame; each stage reads some fields and fills others.

    A cell of a plane ``_s4`` covers 4x4 pixels of the frame at its working size, a cell of ``_s8`` 8x8 pixels.

    Attributes:
        features: features of the image, independent of the objects.
        match_keys: (h8 / 2, w8 / 2, 4, D), the keys by which cells are compared, in blocks of 2x2 cells.
        flow_s4: float32 (h4, w4, 2), backward optical flow, (x, y) cells.
        warped_s4: float32 (K, h4, w4), the last masks, warped by the flow.
        warped_s8: float32 (K, h8, w8), the same.
        target_score_s8: float32 (K, h8, w8), the target model's score of each object.
        score_s8: the same, plus the scores of objects that look like it.
        votes: votes of all memory frames, with background in row 0.
        anchor_votes: votes of the annotated frames alone.
        boxes_s8: for each object, the box that the decoder covers; None for an object without votes and warped mask.
        logits_s4: float32 (K, h4, w4), each object's logits; empty before the decoder.
        logits: float32 (K, H, W), the same at the working size; None before the stage ``edges``.
    """

    features: FrameFeatures
    match_keys: Tensor
    flow_s4: FloatArray
    warped_s4: Tensor
    warped_s8: Tensor
    target_score_s8: Tensor
    score_s8: Tensor
    votes: Votes
    anchor_votes: Votes
    boxes_s8: Sequence[Box | None] = ()
    logits_s4: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    logits: FloatArray | None = None

    @cached_property
    def prob_s4(self) -> Tensor:
        """Label probabilities of the decoded logits: float32 (K + 1, h4, w4), sums to 1, row 0 background."""
        return to_label_prob(torch.sigmoid(self.logits_s4))

    @cached_property
    def prob_s8(self) -> Tensor:
        """The same, float32 (K + 1, h8, w8)."""
        return downsample2x(self.prob_s4)

    def reject(self, rows: Sequence[int]) -> None:
        """Empty the decoded masks of these rows, from 0; probabilities are computed anew."""
        if rows:
            self.logits_s4[list(rows)] = -LOGIT_LIMIT
            self._compute_anew()

    def give(self, cells: BoolArray, giver: int, taker: int) -> None:
        """Give cells (h4, w4) of one row's decoded mask to another's; probabilities are computed anew."""
        if cells.any():
            chosen = torch.from_numpy(cells).to(self.logits_s4.device)
            self.logits_s4[taker] = torch.where(chosen, self.logits_s4[[giver, taker]].amax(0), self.logits_s4[taker])
            self.logits_s4[giver].masked_fill_(chosen, -LOGIT_LIMIT)
            self._compute_anew()

    def _compute_anew(self) -> None:
        for name in ("prob_s4", "prob_s8"):
            vars(self).pop(name, None)

    def full_logits(self) -> FloatArray:
        """Return the logits at the finest available size: float32 (K, H, W), or (K, h4, w4) without ``edges``."""
        return self.logits_s4.cpu().numpy() if self.logits is None else self.logits

    @classmethod
    def begin(cls, features: FrameFeatures, sequence: SequenceState) -> FrameState:
        """Start a frame from the last labels, as if nothing had moved; stages left out leave their fields so."""
        prob = sequence.prob
        labels = downsample2x(prob)
        no_score = torch.zeros_like(labels[1:])
        no_similarity = torch.zeros_like(labels[0])
        return cls(
            features=features,
            match_keys=sequence.memory.match_keys(features),
            flow_s4=np.zeros((*prob.shape[1:], 2), np.float32),
            warped_s4=prob[1:].clone(),
            warped_s8=labels[1:].clone(),
            target_score_s8=no_score,
            score_s8=no_score,
            votes=Votes(labels.clone(), no_similarity),
            anchor_votes=Votes(labels.clone(), no_similarity),
        )

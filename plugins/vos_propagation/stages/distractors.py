"""Stage ``distractors``: divide the votes of objects that look alike by the position of each object.

Near two objects that look alike, label votes mix both. The masks warped by optical flow are then better evidence of
which cell belongs to which object. Objects that look different keep their votes: votes resolve occlusions between
those better than optical flow does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.config import DistractorConfig
from vos_propagation.ops.resampling import downsample2x
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState

_SMALLEST_NUMBER = 1e-6


@dataclass(frozen=True)
class DistractorPair:
    """Two tracked objects that look alike; each is a distractor for the other.

    Attributes:
        first: row of one object, from 0.
        second: row of the other object.
        appearance_similarity: above 0, at most 1.
    """

    first: int
    second: int
    appearance_similarity: float


def find_distractor_pairs(keys: Sequence[Tensor], config: DistractorConfig) -> list[DistractorPair]:
    """Find pairs of objects that look alike.

    Args:
        keys: for each object (N, C), the match keys of its annotated cells, unit length; N may be 0.
        config: from which similarity on two objects are a pair.
    """
    sampled = [own[:: -(-len(own) // config.max_compared_cells) or 1].float() for own in keys]
    pairs = []
    for (first, one), (second, other) in itertools.combinations(enumerate(sampled), 2):
        if len(one) and len(other):
            similarity = one @ other.T
            # The lower of the two directions: a part of a large object may look like all of a small one.
            lowest = float(torch.minimum(similarity.amax(0).mean(), similarity.amax(1).mean()))
            if lowest > config.min_similarity:
                scaled = (lowest - config.min_similarity) / (config.full_similarity - config.min_similarity)
                pairs.append(DistractorPair(first, second, min(1.0, scaled)))
    return pairs


def with_distractors(planes: Tensor, pairs: Sequence[DistractorPair]) -> Tensor:
    """Add to each object's plane, (K, h, w), the planes of its distractors, weighted by appearance similarity."""
    if not pairs:
        return planes
    summed = planes.clone()
    for pair in pairs:
        summed[pair.first] += pair.appearance_similarity * planes[pair.second]
        summed[pair.second] += pair.appearance_similarity * planes[pair.first]
    return summed


def spatial_prior(warped: Tensor, config: DistractorConfig) -> Tensor:
    """Compute how likely each cell is to belong to each object, from the warped masks alone.

    Args:
        warped: float32 (K, h, w), each object's last mask, warped to this frame.
        config: how far the warped mask may be off, and the prior outside it.
    Returns:
        float32 (K, h, w), at least ``config.prior_floor``.
    """
    side = 2 * config.prior_radius + 1
    if warped.device.type != "cpu":
        mean = F.avg_pool2d(warped[None], side, stride=1, padding=config.prior_radius)[0]
        return mean + config.prior_floor
    # OpenCV takes a twentieth of the time of torch.
    blurred = torch.empty_like(warped)
    for plane, out in zip(warped.numpy(), blurred.numpy(), strict=True):
        cv2.blur(plane, (side, side), dst=out, borderType=cv2.BORDER_CONSTANT)
    return blurred.add_(config.prior_floor)


def apply_spatial_prior(votes: Tensor, prior: Tensor, pairs: Sequence[DistractorPair]) -> None:
    """Divide the summed votes of each pair between its objects, in proportion to votes times prior.

    Args:
        votes: float32 (K, h, w), each object's, at least 0 and kept so; changed in place. A pair's sum stays the same
            in each cell.
        prior: float32 (K, h, w), from ``spatial_prior``.
        pairs: objects that look alike; with appearance similarity s, s of the votes is divided anew.
    """
    for pair in pairs:
        one, other = votes[pair.first], votes[pair.second]
        both = one + other
        weighted_one, weighted_other = one * prior[pair.first], other * prior[pair.second]
        share = both * weighted_one / (weighted_one + weighted_other).clamp_min(_SMALLEST_NUMBER)
        one.lerp_(share, pair.appearance_similarity)
        # Rounding must not make votes negative: over hundreds of pairs, weights of opposite signs grow without bound.
        torch.minimum(one, both, out=one)
        torch.sub(both, one, out=other)


class Distractors(Stage):
    """Changes ``votes`` and ``anchor_votes``: divides the votes of objects that look alike by their warped masks."""

    name = "distractors"

    def __init__(self, config: DistractorConfig) -> None:
        self._config = config

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Apply the spatial prior to each pair's votes."""
        if not sequence.distractors:
            return
        prior = downsample2x(spatial_prior(frame.warped_s4, self._config))
        for votes in (frame.votes, frame.anchor_votes):
            apply_spatial_prior(votes.labels[1:], prior, sequence.distractors)

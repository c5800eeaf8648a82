"""Stages ``distractors`` and ``identity_swaps``: tracked objects that look alike are separated by their positions.

Near two objects that look alike, the cells of either vote for either. The warped masks are then better evidence. An
object that is where it was does not also claim the place of another. Objects that look different are left to the votes,
which know better than optical flow which of them occludes the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vos_propagation.ops.resampling import downsample2x
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState
    from vos_propagation.stages.detached_fragments import DetachedFragments
    from vos_propagation.stages.redetection import Redetection

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, FloatArray

# Mean similarity of two objects' cells to the most similar of the other's, from which they are somewhat alike, and
# that from which they are twins.
DIFFERENT, SAME = 0.5, 0.58
# Cells of an object that are compared; what is more is left out evenly.
COMPARED = 512
# The chance that a cell is a twin's although the carried masks deny it, and by how many cells of 4 px these may be off.
DOUBT, OFF = 0.03, 2
# So much alike are twins that one may have the other's pieces.
CERTAIN = 0.5
# Shares of its usual size: an object has a place of its own where it has the first; it is at home in a region with the
# second; it is missing with less than the third; a region of more than the fourth is not it alone; with less than the
# fifth in all it may be that an object is only seen in parts.
SETTLED, THERE, MISSING, LARGEST, SURPLUS = 0.5, 0.1, 0.3, 1.5, 1.25
# A piece stays where so much of it comes from the annotation, carried along.
ANNOTATED = 0.8


@dataclass(frozen=True)
class DistractorPair:
    """Two objects that look alike.

    Attributes:
        first: the row of one, from 0.
        second: the row of the other.
        appearance_similarity: in 0..1, above 0.
    """

    first: int
    second: int
    appearance_similarity: float


def find_distractor_pairs(keys: Sequence[Tensor]) -> list[DistractorPair]:
    """Find pairs of objects that look alike.

    Args:
        keys: for each object (N, C), its cells where it was annotated, of unit length; N may be 0.
    """
    cells = [own[:: -(-len(own) // COMPARED) or 1].float() for own in keys]
    pairs = []
    for (first, one), (second, other) in itertools.combinations(enumerate(cells), 2):
        if len(one) and len(other):
            similarity = one @ other.T
            least = float(torch.minimum(similarity.amax(0).mean(), similarity.amax(1).mean()))
            if least > DIFFERENT:
                pairs.append(DistractorPair(first, second, min(1.0, (least - DIFFERENT) / (SAME - DIFFERENT))))
    return pairs


def with_distractors(planes: Tensor, pairs: Sequence[DistractorPair]) -> Tensor:
    """Add to each object's plane, (K, h, w), those of objects that look like it."""
    if not pairs:
        return planes
    together = planes.clone()
    for pair in pairs:
        together[pair.first] += pair.appearance_similarity * planes[pair.second]
        together[pair.second] += pair.appearance_similarity * planes[pair.first]
    return together


def spatial_prior(warped: Tensor) -> Tensor:
    """Compute how likely each cell is to belong to each object, by the warped masks alone.

    Args:
        carried: float32 (K, h, w), each object's last mask, carried along.
    Returns:
        float32 (K, h, w), at least ``DOUBT``.
    """
    side = 2 * OFF + 1
    if warped.device.type != "cpu":
        return F.avg_pool2d(warped[None], side, stride=1, padding=OFF)[0] + DOUBT
    # OpenCV takes a twentieth of the time of torch.
    around = torch.empty_like(warped)
    for plane, out in zip(warped.numpy(), around.numpy(), strict=True):
        cv2.blur(plane, (side, side), dst=out, borderType=cv2.BORDER_CONSTANT)
    return around.add_(DOUBT)


def apply_spatial_prior(votes: Tensor, prior: Tensor, pairs: Sequence[DistractorPair]) -> None:
    """Split the votes that two objects have together in proportion to their spatial priors.

    Args:
        votes: float32 (K, h, w), each object's; changed in place.
        chances: float32 (K, h, w), from ``chances_of``.
        twins: rows of the objects.
    """
    for pair in pairs:
        one, other = votes[pair.first], votes[pair.second]
        both = one + other
        own, theirs = one * prior[pair.first], other * prior[pair.second]
        one.lerp_(both * own / (own + theirs).clamp_min(1e-6), pair.appearance_similarity)
        torch.sub(both, one, out=other)


def resolve_identity_swaps(
    logits: Tensor,
    warped: Tensor,
    usual: Sequence[float],
    annotated: Sequence[AnyArray],
    pairs: Sequence[DistractorPair],
) -> Tensor:
    """Reassign components that an object claims in the place of one that looks like it, or that is missing.

    Args:
        logits: float32 (K, h, w).
        carried: float32 (K, h, w), each object's last mask, carried along.
        usual: K sizes, what each object mostly has, cells of the grid.
        annotated: K planes, uint8 (h, w), how much of a cell comes from the annotation, of 255.
        twins: rows of the objects.
    Returns:
        float32 (K, h, w); where a cell changes hands its logits do.
    """
    claimed = ((logits > 0) & (logits >= logits.amax(0))).cpu().numpy()
    before = warped.cpu().numpy()
    changed = logits.clone()
    for group in _groups(pairs):
        regions = cv2.connectedComponents(np.any(claimed[group], axis=0).astype(np.uint8), connectivity=8)[1]
        places = [ComponentOwnership(k, regions, claimed[k], before[k], usual[k]) for k in group]
        for own in places:
            for region in own.beside_home():
                piece = claimed[own.row] & (regions == region)
                heir = _reassign_to(own, region, places)
                if heir is None or annotated[own.row][piece].mean() > ANNOTATED * 255:
                    continue
                where = torch.from_numpy(piece).to(logits.device)
                changed[own.row][where], changed[heir.row][where] = -logits[own.row][where], logits[own.row][where]
                heir.cells[region] += own.cells[region]
                own.cells[region] = 0
    return changed


class ComponentOwnership:
    """The connected components in which an object is.

    Attributes:
        row: the object's, from 0.
        cells: int64 (R,), how many cells it has in each region.
        weights: float64 (R,), and how many of those it had before.
        home: the region where it had most.
        usual: how many cells it mostly has.
    """

    def __init__(self, row: int, regions: AnyArray, claimed: AnyArray, warped: FloatArray, usual: float) -> None:
        where, count = regions[claimed], int(regions.max()) + 1
        self.row = row
        self.cells = np.bincount(where, minlength=count)
        self.weights = np.bincount(where, warped[claimed] + DOUBT, minlength=count)
        self.home = int(self.weights.argmax())
        self.usual = usual

    def beside_home(self) -> list[int]:
        """List the regions where it has something beside its home; none while it is not settled there."""
        if self.cells[self.home] < SETTLED * self.usual:
            return []
        return [region for region in np.flatnonzero(self.cells).tolist() if region != self.home]


def _reassign_to(
    own: ComponentOwnership, region: int, places: Sequence[ComponentOwnership]
) -> ComponentOwnership | None:
    """Say which of its twins should have what an object has in a region beside its home."""
    others = [other for other in places if other is not own]
    hosts = [other for other in others if other.home == region and other.cells[region] >= THERE * other.usual]
    if hosts:
        return max(hosts, key=lambda other: float(other.weights[region]))
    if own.cells.sum() < SURPLUS * own.usual:
        return None
    size = own.cells[region]
    missing = [
        other
        for other in others
        if other.cells.sum() < MISSING * other.usual and SETTLED * other.usual <= size <= LARGEST * other.usual
    ]
    return min(missing, key=lambda other: abs(other.usual - size), default=None)


def _groups(pairs: Sequence[DistractorPair]) -> list[list[int]]:
    """List the rows that are twins of each other, directly or by a third."""
    groups: list[set[int]] = []
    for pair in pairs:
        if pair.appearance_similarity >= CERTAIN:
            rows = {pair.first, pair.second}
            rows.update(*(group for group in groups if group & rows))
            groups = [group for group in groups if not group & rows] + [rows]
    return [sorted(group) for group in groups]


class Distractors(Stage):
    """Changes ``votes`` and ``anchor_votes``: splits the votes of objects that look alike by where each of them was."""

    name = "distractors"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Apply the spatial prior to each pair's votes."""
        if not sequence.distractors:
            return
        prior = spatial_prior(frame.warped_s4)
        apply_spatial_prior(frame.votes.fine[1:], prior, sequence.distractors)
        coarse_prior = downsample2x(prior)
        for votes in (frame.votes, frame.anchor_votes):
            apply_spatial_prior(votes.labels[1:], coarse_prior, sequence.distractors)


class IdentitySwaps(Stage):
    """Changes ``logits_s4``: what an object claims in the place of one that looks like it goes to that one."""

    name = "identity_swaps"

    def __init__(self, redetection: Redetection, fragments: DetachedFragments) -> None:
        self._redetection, self._fragments = redetection, fragments

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Reassign components of objects that look alike."""
        if not sequence.distractors:
            return
        ids = sequence.object_ids
        usual = [4 * self._redetection.redetector.states[object_id].area for object_id in ids]
        annotated = [self._fragments.filter.annotated(object_id) for object_id in ids]
        frame.logits_s4 = resolve_identity_swaps(
            frame.logits_s4, frame.warped_s4, usual, annotated, sequence.distractors
        )

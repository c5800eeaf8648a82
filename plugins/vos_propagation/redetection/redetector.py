"""Verification of each object's votes and of its decoded mask, and the search for lost objects in the whole frame.

An object is doubted if it has no votes, has shrunk, no longer looks like itself, or after a cut. The evidence of its
views then decides on the 16-px grid: the votes stay, are rejected, or a candidate region takes their place. A decoded
mask that is suddenly unlike the views is rejected too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.config import RedetectionConfig
from vos_propagation.redetection.candidates import Candidate, find_candidate
from vos_propagation.redetection.views import (
    View,
    chroma_distance,
    evidence,
    key_similarity,
    make_view,
    most_redundant,
)
from vos_propagation.stages.distractors import DistractorPair, with_distractors

# A cell with a higher share of an object's votes is held by the object.
MIN_HELD_SHARE = 0.5
# Step of the running means of an object's usual area and similarity.
RUNNING_MEAN_STEP = 0.1
# A 16-px cell consists of four 8-px cells.
S8_CELLS = 4
# An object is well visible from this multiple of the smallest area and this multiple of the doubted score on.
VISIBLE_AREA_FACTOR, VISIBLE_SCORE_FACTOR = 4, 2
# A cell of 8 px may show a lost object if this share of it lies in 16-px cells that may.
MIN_IGNORED_SHARE = 0.2


@dataclass
class ObjectState:
    """The appearance and recent history of one object.

    Attributes:
        views: the view of the latest annotation first.
        area: usual area, 8-px cells.
        similarity: usual mean similarity of the object's cells to the memory cells that voted for it; 0 at first.
        mask_similarity: usual mean similarity of the decoded mask's cells to the object's in its views; 0 at first.
        searches_lost: number of searches since the object was last held; 0 while it is held.
        recovery_frames: number of further frames in which the object's candidate supports its votes.
        last_candidate: row and column of the last candidate that was not accepted at once, 16-px cells.
    """

    views: list[View] = field(default_factory=list)
    area: float = 0.0
    similarity: float = 0.0
    mask_similarity: float = 0.0
    searches_lost: int = 0
    recovery_frames: int = 0
    last_candidate: tuple[float, float] | None = None


@dataclass(frozen=True)
class Suspect:
    """An object whose votes need verification.

    Attributes:
        row: of the object, from 0.
        has_no_votes: whether its votes cover less than the smallest area.
        min_evidence: votes with less mean evidence are rejected; -inf if they are not doubted.
    """

    row: int
    has_no_votes: bool
    min_evidence: float


@dataclass(frozen=True)
class RedetectionResult:
    """The result of verification and redetection beside the changed votes.

    Attributes:
        ignore_mask: bool (h, w), cells that may show a lost object, which the memory ignores; None for no cell.
        rejected_rows: rows of objects (from 0) whose votes were rejected.
        found_rows: rows of objects that a candidate region supports, which were lost or doubted.
    """

    ignore_mask: Tensor | None
    rejected_rows: Sequence[int]
    found_rows: Sequence[int] = ()


class Redetector:
    """Verifies and redetects all objects of a sequence; costs little while no object is doubted."""

    def __init__(self, config: RedetectionConfig) -> None:
        self._config = config
        self.states: dict[int, ObjectState] = {}

    def annotate(
        self, object_id: int, cells_s16: Tensor, chroma: Tensor, labels: Tensor, labels_with_distractors: Tensor
    ) -> None:
        """Make the annotation the object's first view, and drop all earlier views but that of the last annotation.

        Args:
            object_id: new or known.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            chroma: float32 (2, h, w), a* and b* of CIELAB.
            labels: float32 (h, w), the object's.
            labels_with_distractors: float32 (h, w), plus those of objects that look like it.
        """
        first = self._view(cells_s16, chroma, labels, labels_with_distractors)
        before = self.states[object_id].views[:1] if object_id in self.states else []
        self.states[object_id] = ObjectState(([first] if first else []) + before, float(labels.sum()))

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.states.pop(object_id, None)

    def update_views(
        self,
        object_ids: Sequence[int],
        cells_s16: Tensor,
        chroma: Tensor,
        labels: Tensor,
        labels_with_distractors: Tensor,
        score: Tensor,
    ) -> None:
        """Add a view of each object that is well visible, and drop its most redundant one above the limit.

        Args:
            object_ids: one for each row.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            chroma: float32 (2, h, w), a* and b* of CIELAB.
            labels: float32 (K, h, w).
            labels_with_distractors: float32 (K, h, w), each object's plus those of objects that look like it.
            score: float32 (K, h, w), the target model's, summed likewise.
        """
        config = self._config
        areas = labels.sum((1, 2))
        scores = (labels * score).sum((1, 2)) / areas.clamp_min(1e-6)
        for row, (area, mean_score) in enumerate(torch.stack([areas, scores], 1).tolist()):
            state = self.states[object_ids[row]]
            is_small = area < VISIBLE_AREA_FACTOR * config.min_area_s8 or area < config.shrunk_share * state.area
            is_unlike = mean_score < VISIBLE_SCORE_FACTOR * config.doubted_score
            if state.searches_lost or state.recovery_frames or is_small or is_unlike:
                continue
            new = self._view(cells_s16, chroma, labels[row], labels_with_distractors[row])
            if new is None:
                continue
            state.views.append(new)
            if len(state.views) > config.max_tracked_views + 1:
                del state.views[most_redundant(state.views)]

    def reject_unlike(self, object_ids: Sequence[int], cells_s16: Tensor, labels: Tensor, score: Tensor) -> list[int]:
        """Find held objects whose masks have suddenly become unlike their views; they are lost from then on.

        Args:
            object_ids: one for each object.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            labels: float32 (K, h, w), the decoded masks.
            score: float32 (K, h, w), the target model's, of the object plus those of objects that look like it.
        Returns:
            The rows of these objects, from 0.
        """
        rejected: list[int] = []
        for row, (object_id, own) in enumerate(zip(object_ids, F.avg_pool2d(labels, 2), strict=True)):
            state, held = self.states[object_id], own > MIN_HELD_SHARE
            if state.searches_lost or state.recovery_frames:
                # An object that returns may look otherwise.
                state.mask_similarity = 0.0
            elif state.views and held.any() and self._is_unlike(state, cells_s16, held, score[row]):
                state.searches_lost = 1
                rejected.append(row)
        return rejected

    def _is_unlike(self, state: ObjectState, cells_s16: Tensor, held: Tensor, score: Tensor) -> bool:
        """Test whether a mask, bool (h, w) at 16 px a cell, is suddenly unlike its object, and remember its look."""
        config, known = self._config, torch.cat([view.own for view in state.views])
        similarity = float(key_similarity(cells_s16[:, held].T, known).mean())
        drop = state.mask_similarity - similarity
        if drop < config.mask_similarity_drop / 2:
            # What slides behind something becomes unlike itself over a few frames: that is not its usual look.
            state.mask_similarity -= drop * (RUNNING_MEAN_STEP if state.mask_similarity else 1)
        if drop <= config.mask_similarity_drop:
            return False
        logits = evidence(cells_s16, state.views, F.avg_pool2d(score[None], 2)[0], config.evidence)
        return bool(logits[held].mean() < config.cut_evidence)

    def step(
        self,
        object_ids: Sequence[int],
        cells_s16: Tensor,
        chroma: Tensor,
        votes: Tensor,
        score: Tensor,
        similarity: Tensor,
        pairs: Sequence[DistractorPair],
    ) -> RedetectionResult:
        """Verify each object's votes, reject them, or redetect the object.

        Args:
            object_ids: one for each object.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            chroma: float32 (2, h, w), a* and b* of CIELAB.
            votes: float32 (K + 1, h, w), row 0 background; changed in place.
            score: float32 (K, h, w), the target model's, of the object plus those of objects that look like it.
            similarity: float32 (h, w), each cell's highest similarity to the memory; 0 where there was no vote.
            pairs: objects that look alike.
        Returns:
            The rejected objects, and the cells that the memory ignores.
        """
        if not object_ids:
            return RedetectionResult(None, [])
        config, own = self._config, votes[1:]
        held = own * (own > MIN_HELD_SHARE)
        areas = held.sum((1, 2))
        share = held / areas.clamp_min(1e-6)[:, None, None]
        means = [(share * score).sum((1, 2)), (share * similarity).sum((1, 2))]
        suspects: list[Suspect] = []
        for row, (total, area, mean_score, mean_similarity) in enumerate(
            torch.stack([own.sum((1, 2)), areas, *means], 1).tolist()
        ):
            state = self.states[object_ids[row]]
            has_no_votes = total < config.min_area_s8
            is_doubted = area < config.shrunk_share * state.area or mean_score < config.doubted_score
            is_cut = mean_similarity < state.similarity - config.cut_similarity_drop
            if has_no_votes or is_cut or is_doubted or state.recovery_frames or state.searches_lost:
                is_verified = is_doubted or state.recovery_frames
                needed = config.cut_evidence if is_cut else config.reject_evidence if is_verified else -math.inf
                suspects.append(Suspect(row, has_no_votes, needed))
            else:
                state.area += RUNNING_MEAN_STEP * (area - state.area)
                change = RUNNING_MEAN_STEP * (mean_similarity - state.similarity)
                state.similarity = mean_similarity if not state.similarity else state.similarity + change
        return self._redetect(object_ids, suspects, cells_s16, chroma, votes, score, pairs)

    def _redetect(
        self,
        object_ids: Sequence[int],
        suspects: Sequence[Suspect],
        cells_s16: Tensor,
        chroma: Tensor,
        votes: Tensor,
        score: Tensor,
        pairs: Sequence[DistractorPair],
    ) -> RedetectionResult:
        """Search for each suspect in the whole frame, and keep, replace or reject its votes."""
        config = self._config
        ignore_mask: Tensor | None = None
        rejected_rows: list[int] = []
        found_rows: list[int] = []
        for suspect in suspects:
            row, state = suspect.row, self.states[object_ids[suspect.row]]
            state.searches_lost += suspect.has_no_votes
            if not state.views or (state.searches_lost > config.frequent_searches and state.searches_lost % 2):
                continue
            others = votes[1:].sum(0) - votes[row + 1]
            logits = evidence(cells_s16, state.views, F.avg_pool2d(score[row][None], 2)[0], config.evidence)
            candidate = find_candidate(
                logits,
                F.avg_pool2d(votes[row + 1][None], 2)[0],
                F.avg_pool2d(others[None], 2)[0] < MIN_HELD_SHARE,
                max(2, round(config.visible_share * state.area / S8_CELLS)),
            )
            is_found = self._is_found(candidate, state) and not _touches_distractor(candidate, votes[1:], row, pairs)
            is_found = is_found and self._has_known_colours(candidate, state, chroma)
            if is_found and self._is_needed(candidate, state, suspect):
                self._recover(candidate, state, votes[row + 1], others, logits, score[row])
                found_rows.append(row)
            elif candidate.held_evidence < suspect.min_evidence and not suspect.has_no_votes:
                votes[row + 1] = 0
                state.searches_lost, state.recovery_frames = 1, 0
                rejected_rows.append(row)
            elif not suspect.has_no_votes:
                state.searches_lost = 0
            votes[0] = (1 - votes[1:].sum(0)).clamp_min(0)
            state.recovery_frames = max(0, state.recovery_frames - 1)
            if state.searches_lost:
                possible = candidate.free & (logits > config.ignore_evidence)
                ignored = _upsample(possible.float(), others.shape) > MIN_IGNORED_SHARE
                ignore_mask = ignored if ignore_mask is None else ignore_mask | ignored
        return RedetectionResult(ignore_mask, rejected_rows, found_rows)

    def _is_found(self, candidate: Candidate, state: ObjectState) -> bool:
        """Test whether a candidate has enough evidence, and remember it for the next search if it nearly has."""
        config, last = self._config, state.last_candidate
        is_likely = candidate.strength >= config.accept_twice_evidence
        is_repeated = last is not None and (
            max(abs(candidate.row - last[0]), abs(candidate.column - last[1])) <= config.max_candidate_step
        )
        is_found = candidate.strength >= config.accept_evidence
        is_found = is_found or (is_likely and (is_repeated or state.recovery_frames > 0))
        state.last_candidate = (candidate.row, candidate.column) if is_likely and not is_found else None
        is_grown = candidate.area > config.max_growth * state.area / S8_CELLS
        return is_found and not (candidate.touches_held and not state.recovery_frames and is_grown)

    def _has_known_colours(self, candidate: Candidate, state: ObjectState, chroma: Tensor) -> bool:
        """Test whether a candidate has the colours of the object's views, which its features hardly tell."""
        region_chroma = F.avg_pool2d(chroma, 2)[:, candidate.region].T
        return chroma_distance(region_chroma, state.views) <= self._config.max_chroma_distance

    def _is_needed(self, candidate: Candidate, state: ObjectState, suspect: Suspect) -> bool:
        """Test whether the object's votes need the support of a candidate."""
        if suspect.has_no_votes or state.recovery_frames or suspect.min_evidence > -math.inf:
            return True
        return not candidate.touches_held and candidate.held_evidence < self._config.accept_twice_evidence

    def _recover(
        self, candidate: Candidate, state: ObjectState, votes: Tensor, others: Tensor, logits: Tensor, score: Tensor
    ) -> None:
        """Add a candidate to the object's votes, float32 (h, w) at 8 px a cell, in place.

        Votes elsewhere are removed if the candidate does not touch them.
        """
        if not candidate.touches_held:
            votes.zero_()
        if not (candidate.touches_held and state.recovery_frames):
            state.recovery_frames = self._config.recovery_frames
        region = _upsample(candidate.region.float(), others.shape) * (others < MIN_HELD_SHARE)
        refined = _upsample(logits, others.shape) + self._config.score_weight_s8 * (score - 0.5)
        votes.copy_(torch.maximum(votes, torch.sigmoid(refined) * region))
        state.searches_lost = 0

    def _view(self, cells_s16: Tensor, chroma: Tensor, labels: Tensor, labels_with_distractors: Tensor) -> View | None:
        """Make a view of features at 16 px a cell, and of chroma and labels, float32 (h, w), at 8 px a cell."""
        labels_s16, with_distractors_s16 = F.avg_pool2d(torch.stack([labels, labels_with_distractors]), 2)
        return make_view(cells_s16, F.avg_pool2d(chroma, 2), labels_s16, with_distractors_s16, self._config.evidence)


def _touches_distractor(candidate: Candidate, votes: Tensor, row: int, pairs: Sequence[DistractorPair]) -> bool:
    """Test whether a candidate touches an object that looks alike, by the votes, float32 (K, 2 h, 2 w)."""
    if not pairs:
        return False
    distractors = with_distractors(votes, pairs)[row] - votes[row]
    return bool((candidate.region & (F.max_pool2d(distractors[None], 4, 2, 1)[0] > MIN_HELD_SHARE)).any())


def _upsample(plane: Tensor, size: Sequence[int]) -> Tensor:
    """Upsample (h, w) bilinearly to ``size``."""
    return F.interpolate(plane[None, None], size=tuple(size), mode="bilinear", align_corners=False)[0, 0]

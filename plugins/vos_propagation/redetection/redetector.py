"""The search for lost objects in the whole frame, and the verification of decoded masks.

An object that has no votes, has shrunk or was lost is searched for on the 16-px grid, by the evidence of its views. A
decoded mask that is uncertain and suddenly unlike the views is rejected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.config import RedetectionConfig
from vos_propagation.memory.labels import representative_cells
from vos_propagation.redetection.candidates import Candidate, find_candidate
from vos_propagation.redetection.views import View, chroma_distance, evidence, key_similarity, make_view

# A cell with a higher share of an object's votes is held by the object.
MIN_HELD_SHARE = 0.5
# Step of the running means of an object's usual area and similarity.
RUNNING_MEAN_STEP = 0.1
# A 16-px cell consists of four 8-px cells.
S8_CELLS = 4


@dataclass
class ObjectState:
    """The appearance and recent history of one object.

    Attributes:
        annotated: views of the latest annotation and of the one before.
        latest: views of the latest frames that showed the object well.
        area: usual area, 8-px cells.
        mask_similarity: usual mean similarity of the decoded mask's cells to the object's in its views; 0 at first.
        is_lost: whether the object was not found in the frame before, or its mask was rejected there.
    """

    annotated: list[View]
    latest: deque[View]
    area: float = 0.0
    mask_similarity: float = 0.0
    is_lost: bool = False

    @property
    def views(self) -> list[View]:
        """All views; none of an object that has not covered enough of any cell."""
        return [*self.annotated, *self.latest]


class Redetector:
    """Verifies and redetects all objects of a sequence; costs little while none is lost."""

    def __init__(self, config: RedetectionConfig) -> None:
        self._config = config
        self.states: dict[int, ObjectState] = {}

    def annotate(self, object_id: int, cells_s16: Tensor, chroma: Tensor, labels: Tensor) -> None:
        """Make the annotation the object's first view, and drop all earlier views but that of the last annotation.

        Args:
            object_id: new or known.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            chroma: float32 (2, h, w), a* and b* of CIELAB.
            labels: float32 (h, w), the object's.
        """
        first = self._view(cells_s16, chroma, labels)
        before = self.states[object_id].annotated[:1] if object_id in self.states else []
        annotated = ([first] if first else []) + before
        self.states[object_id] = ObjectState(annotated, deque(maxlen=self._config.latest_views), float(labels.sum()))

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.states.pop(object_id, None)

    def update_views(
        self,
        object_ids: Sequence[int],
        cells_s16: Tensor,
        chroma: Tensor,
        labels: Tensor,
        score: Tensor,
    ) -> None:
        """Make a view of each object that is well visible.

        Args:
            object_ids: one for each row.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            chroma: float32 (2, h, w), a* and b* of CIELAB.
            labels: float32 (K, h, w).
            score: float32 (K, h, w), the target model's, of the object plus those of objects that look like it.
        """
        scores = (labels * score).sum((1, 2)) / labels.sum((1, 2)).clamp_min(1e-6)
        for row, mean_score in enumerate(scores.tolist()):
            state = self.states[object_ids[row]]
            if mean_score >= self._config.visible_score and not state.is_lost:
                new = self._view(cells_s16, chroma, labels[row])
                state.latest.extend([new] if new else [])

    def reject_unlike(
        self, object_ids: Sequence[int], cells_s16: Tensor, labels: Tensor, certainty: Sequence[float]
    ) -> list[int]:
        """Find held objects whose uncertain masks have suddenly become unlike their views; they are lost from then on.

        Args:
            object_ids: one for each object.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            labels: float32 (K, h, w), the decoded masks.
            certainty: for each object, the mean probability of its mask's cells.
        Returns:
            The rows of these objects, from 0.
        """
        rejected: list[int] = []
        for row, (object_id, own) in enumerate(zip(object_ids, F.avg_pool2d(labels, 2), strict=True)):
            state = self.states[object_id]
            if state.is_lost:
                # An object that returns may look otherwise.
                state.mask_similarity = 0.0
            elif state.views and own.any():
                known = torch.cat([view.own for view in state.views])
                similarity = key_similarity(cells_s16[:, representative_cells(own)].T, known).mean()
                drop = state.mask_similarity - float(similarity)
                state.mask_similarity -= drop * (RUNNING_MEAN_STEP if state.mask_similarity else 1)
                if drop > self._config.mask_similarity_drop and certainty[row] < self._config.certain_prob:
                    state.is_lost = True
                    rejected.append(row)
        return rejected

    def step(
        self, object_ids: Sequence[int], cells_s16: Tensor, chroma: Tensor, votes: Tensor, score: Tensor
    ) -> list[int]:
        """Search for each object that has no votes, has shrunk or was lost, and support or replace its votes.

        Args:
            object_ids: one for each object.
            cells_s16: (C, h / 2, w / 2) at 16 px a cell, unit length.
            chroma: float32 (2, h, w), a* and b* of CIELAB.
            votes: float32 (K + 1, h, w), row 0 background; changed in place.
            score: float32 (K, h, w), the target model's, of the object plus those of objects that look like it.
        Returns:
            The rows, from 0, of objects that were found.
        """
        config, own = self._config, votes[1:]
        found: list[int] = []
        areas = torch.stack([own.sum((1, 2)), (own * (own > MIN_HELD_SHARE)).sum((1, 2))], 1)
        for row, (total, area) in enumerate(areas.tolist()):
            state = self.states[object_ids[row]]
            has_votes, is_shrunk = total >= config.min_area_s8, area < config.shrunk_share * state.area
            if has_votes and not is_shrunk and not state.is_lost:
                state.area += RUNNING_MEAN_STEP * (area - state.area)
                continue
            state.is_lost = not has_votes
            if not state.views:
                continue
            others = own.sum(0) - own[row]
            logits = evidence(cells_s16, state.views, F.avg_pool2d(score[row][None], 2)[0], config.evidence)
            candidate = find_candidate(
                logits,
                F.avg_pool2d(own[row][None], 2)[0],
                F.avg_pool2d(others[None], 2)[0] < MIN_HELD_SHARE,
                max(2, round(config.visible_share * state.area / S8_CELLS)),
            )
            if candidate.strength >= config.accept_evidence and self._has_known_colours(candidate, state, chroma):
                _add_candidate(own[row], candidate, logits, others)
                state.is_lost = False
                found.append(row)
                votes[0] = (1 - own.sum(0)).clamp_min(0)
        return found

    def _has_known_colours(self, candidate: Candidate, state: ObjectState, chroma: Tensor) -> bool:
        """Test whether a candidate has the colours of the object's views, which its features hardly tell."""
        region_chroma = F.avg_pool2d(chroma, 2)[:, candidate.region].T
        return chroma_distance(region_chroma, state.views) <= self._config.max_chroma_distance

    def _view(self, cells_s16: Tensor, chroma: Tensor, labels: Tensor) -> View | None:
        """Make a view of features at 16 px a cell, and of chroma and labels, float32 (h, w), at 8 px a cell."""
        labels_s16 = F.avg_pool2d(labels[None], 2)[0]
        return make_view(cells_s16, F.avg_pool2d(chroma, 2), labels_s16, self._config.evidence)


def _add_candidate(votes: Tensor, candidate: Candidate, logits: Tensor, others: Tensor) -> None:
    """Add a candidate to its object's votes, in place; it replaces votes that it does not touch.

    Args:
        votes: float32 (h, w), the object's, at 8 px a cell.
        candidate: the region, at 16 px a cell.
        logits: float32 (h / 2, w / 2), the evidence of the object.
        others: float32 (h, w), the votes of all other objects.
    """
    if not candidate.touches_votes:
        votes.zero_()
    region = _upsample(candidate.region.float(), others.shape) * (others < MIN_HELD_SHARE)
    votes.copy_(torch.maximum(votes, torch.sigmoid(_upsample(logits, others.shape)) * region))


def _upsample(plane: Tensor, size: Sequence[int]) -> Tensor:
    """Upsample (h, w) bilinearly to ``size``."""
    return F.interpolate(plane[None, None], size=tuple(size), mode="bilinear", align_corners=False)[0, 0]

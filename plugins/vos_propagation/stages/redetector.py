"""Absence and return: verification of each object's votes, and redetection in the whole frame.

Each object keeps a few views: cells of its own, and of what was around it, in its annotated frame and in
frames in which it was well seen. A cell's evidence for an object is a logit, linear in how much the cell is
like the object's own cells, how much it is like the other cells of the same views, and what the target model
says. It works on the grid of 16 px. The weights were fitted by logistic regression on cells of clips made
from the development split (docs/propagation-log.md); each sequence left out in turn gives nearly the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.memory.labels import representative_cells
from vos_propagation.stages.distractors import DistractorPair, with_distractors

LIKE_OWN, LIKE_REST, SCORE, BIAS = 21.7, -6.3, 3.0, -7.7
NEAREST = 3
# Cells are hardly ever less like the rest of the views than the first, and on the mean as much as the second. What
# would have evidence below ``HOPELESS`` with the first is not compared with the rest: it has that of the second.
LEAST_SIMILARITY, USUALLY_LIKE, HOPELESS = 0.3, 0.6, -2.0
# Cells of a view; what is more is left out evenly.
OWN_CELLS, REST_CELLS = 128, 384
# Views of an object beside the annotated one.
VIEWS = 3
# Share of an object that should be seen. The mean evidence of so many cells at which a candidate is taken at
# once, and taken when it is there in two searches.
VISIBLE = 0.2
SURE, LIKELY = 3.0, 2.5
# An object of fewer cells of 8 px than this is not in the frame.
SMALLEST = 1.5
# Share of its usual size, and the target model's mean score, below which an object is doubted, and the mean
# evidence below which it is then taken back.
SHRUNK, DOUBTED, REFUTED = 0.3, 0.35, 0.7
# A region of more than so many times its usual size is not taken for an object that is in part still held.
LARGER = 1.75
# Fall of its cells' similarity after which place tells nothing (a cut), and the evidence it must have then.
UNLIKE, PROVEN = 0.22, 2.0
# Frames for which a found object is helped on; frames lost after which only every second one is searched.
HELPED, LONG = 8, 16
# A candidate may move so far between two searches, cells of 16 px.
STEP = 8.0
# What the target model's score counts at 8 px a cell; evidence from which a cell may be a lost object's.
EDGE, HINT = 4.0, 0.5
# Cells by which a region grows before it is asked whether it still does.
STRIDE = 8
# Cells are compared in multiples of so many.
GRAIN = 128

Suspect: TypeAlias = tuple[int, bool, float]
"""Row of an object (from 0), whether it has no votes at all, and the evidence that those it has must show."""


@dataclass(frozen=True, eq=False)
class View:
    """How an object looked in one frame.

    Attributes:
        own: (N, C), the object's cells, unit length.
        rest: (M, C), other cells of the frame, unit length.
        known: how much it is like others that it was compared with, while they are kept.
    """

    own: Tensor
    rest: Tensor
    known: WeakKeyDictionary[View, float] = field(default_factory=WeakKeyDictionary)

    def appearance_similarity(self, other: View) -> float:
        """Say how much the object's cells are like those of another view, on the mean."""
        if other not in self.known:
            self.known[other] = float(key_similarity(self.own, other.own).mean())
        return self.known[other]


@dataclass
class State:
    """What is known of an object.

    Attributes:
        views: the annotated one first.
        area: its usual size, cells of 8 px.
        similarity: the usual similarity of its cells to those that voted for it.
        lost: searches since it was last held; 0 while it is.
        helped: frames for which it will still be helped on.
        hint: row and column of the last candidate that was not sure enough.
    """

    views: list[View] = field(default_factory=list)
    area: float = 0.0
    similarity: float = 0.0
    lost: int = 0
    helped: int = 0
    hint: tuple[float, float] | None = None


@dataclass(frozen=True)
class RedetectionResult:
    """The result of verification and redetection beside the votes.

    Attributes:
        ignore_mask: bool (h, w), cells that may be a lost object and are not learnt from; None for no cell.
        rejected_rows: rows of objects (from 0) whose votes were rejected.
    """

    ignore_mask: Tensor | None
    rejected_rows: Sequence[int]


def pool(cells: Tensor) -> Tensor:
    """Halve the resolution of (C, h, w) features, h and w even, unit length again."""
    # A cell's features lie side by side: to add rows, then columns takes a tenth of the time of pooling planes.
    rows = cells.permute(1, 2, 0).float()
    rows = rows[0::2] + rows[1::2]
    return F.normalize(rows[:, 0::2] + rows[:, 1::2], dim=-1).to(cells.dtype).permute(2, 0, 1)


def view(cells: Tensor, labels: Tensor, together: Tensor) -> View | None:
    """Keep what an object and the rest of a frame look like.

    Args:
        cells: (C, h, w) at 16 px a cell, unit length.
        labels: (h, w), the object's share of each cell.
        together: (h, w), that and the shares of others that look like it, which are not the rest.
    Returns:
        The view; None where the object has no fifth of any cell.
    """
    flat, share = cells.flatten(1).T, labels.flatten()
    if float(share.max()) < 0.2:
        return None
    return View(_thin(flat[representative_cells(share)], OWN_CELLS), _thin(flat[together.flatten() < 0.1], REST_CELLS))


def key_similarity(query: Tensor, keys: Tensor) -> Tensor:
    """Give float32 (N,), the mean similarity of each of (N, C) to its nearest of (M, C); 0 without keys."""
    if not len(keys):
        return query.new_zeros(len(query), dtype=torch.float32)
    # In few sizes: for each new one, a kernel is made and kept.
    rows, columns = (F.pad(part, (0, 0, 0, -len(part) % GRAIN)) for part in (query, keys))
    similarity = (rows @ columns.T)[: len(query), : len(keys)].float()
    return similarity.topk(min(NEAREST, len(keys)), dim=1).values.mean(1)


def evidence(cells: Tensor, views: Sequence[View], score: Tensor) -> Tensor:
    """Compute the evidence that each cell is the object.

    Args:
        cells: (C, h, w) at 16 px a cell, unit length.
        views: one or more.
        score: float32 (h, w), the target model's.
    Returns:
        float32 (h, w) logits.
    """
    query = cells.flatten(1).T
    own = key_similarity(query, torch.cat([v.own for v in views]))
    alone = LIKE_OWN * own + SCORE * score.flatten() + BIAS
    open_cells = (alone + LIKE_REST * LEAST_SIMILARITY > HOPELESS).nonzero()[:, 0]
    rest = torch.full_like(alone, USUALLY_LIKE)
    rest[open_cells] = key_similarity(query.index_select(0, open_cells), torch.cat([v.rest for v in views]))
    return (alone + LIKE_REST * rest).view_as(score)


def grow(seeds: Tensor, allowed: Tensor) -> Tensor:
    """Grow (h, w) seeds over all allowed cells that are connected to them, corners included."""
    region = seeds & allowed
    while True:
        before = region
        for _ in range(STRIDE):
            region = (F.max_pool2d(region[None].float(), 3, 1, 1)[0] > 0) & allowed
        if torch.equal(region, before):
            return region


def strength(logits: Tensor, region: Tensor, count: int) -> Tensor:
    """Give the mean evidence of a region's ``count`` best cells, a scalar; cells that it lacks count as 0."""
    values = torch.where(region, logits, 0).flatten()
    return values.topk(min(count, len(values))).values.sum() / count


@dataclass(frozen=True)
class Candidate:
    """Where an object may be.

    Attributes:
        region: bool (h, w), connected cells.
        free: bool (h, w), cells that no other object holds.
        facts: float32 (6,): the region's strength, the mean evidence of what the object holds now (the lowest
            where it holds nothing), the row and column of the region's centre, whether the two touch, and the region's
            size in cells.
    """

    region: Tensor
    free: Tensor
    facts: Tensor


def find(logits: Tensor, mine: Tensor, free: Tensor, area: float) -> Candidate:
    """Find the best place for an object.

    Args:
        logits: float32 (h, w), its evidence.
        mine: float32 (h, w), its votes.
        free: bool (h, w), cells that no other object holds.
        area: its usual size, cells.
    Returns:
        The connected region of positive evidence around the cell with the most of it nearby.
    """
    allowed = (logits > 0) & free
    nearby = F.avg_pool2d(logits.clamp_min(0)[None], 3, 1, 1)[0]
    best = torch.where(allowed, nearby, 0).flatten().argmax()
    seed = (torch.arange(allowed.numel(), device=logits.device) == best).view_as(allowed)
    region = grow(seed, allowed)
    held = mine * (mine > 0.3)
    own = (held * logits).sum() / held.sum().clamp_min(1e-6) - 100 * (held.sum() == 0)
    row, column = best // logits.shape[1], best % logits.shape[1]
    strong = strength(logits, region, max(2, round(VISIBLE * area)))
    facts = [strong, own, row, column, (region & (held > 0)).any(), region.sum()]
    return Candidate(region, free, torch.stack([fact.float() for fact in facts]))


class Redetector:
    """Verifies all objects of a sequence; costs little while none is doubted."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}

    def annotate(self, object_id: int, cells: Tensor, labels: Tensor, together: Tensor) -> None:
        """Make the annotation the object's first view; of earlier views, only the one annotated last stays.

        Args:
            object_id: new or known.
            cells: (C, h, w) at 8 px a cell, unit length.
            labels: float32 (h, w), the object's.
            together: float32 (h, w), the object's and those of others that look like it.
        """
        first = view(pool(cells), *F.avg_pool2d(torch.stack([labels, together]), 2))
        before = self.states[object_id].views[:1] if object_id in self.states else []
        self.states[object_id] = State(([first] if first else []) + before, float(labels.sum()))

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.states.pop(object_id, None)

    def update_views(
        self, object_ids: Sequence[int], cells: Tensor, labels: Tensor, together: Tensor, score: Tensor
    ) -> None:
        """Keep a view of each object that is well seen.

        Of ``VIEWS`` views beside the annotated one the newest always stays, and of the others those that are
        least like another.

        Args:
            object_ids: one for each row.
            cells: (C, h, w) at 8 px a cell, unit length.
            labels: float32 (K, h, w).
            together: float32 (K, h, w), each object's labels and those of others that look like it.
            score: float32 (K, h, w), the target model's, of the object or of others that look like it.
        """
        sizes = labels.sum((1, 2))
        means = (labels * score).sum((1, 2)) / sizes.clamp_min(1e-6)
        coarse = None
        for k, (size, mean) in enumerate(torch.stack([sizes, means], 1).tolist()):
            state = self.states[object_ids[k]]
            if state.lost or state.helped or size < 4 * SMALLEST or size < SHRUNK * state.area or mean < 2 * DOUBTED:
                continue
            coarse = pool(cells) if coarse is None else coarse
            new = view(coarse, *F.avg_pool2d(torch.stack([labels[k], together[k]]), 2))
            if new is None:
                continue
            state.views.append(new)
            if len(state.views) > VIEWS + 1:
                del state.views[_most_alike(state.views)]

    def step(
        self,
        object_ids: Sequence[int],
        cells: Tensor,
        votes: Tensor,
        score: Tensor,
        similarity: Tensor,
        pairs: Sequence[DistractorPair],
    ) -> RedetectionResult:
        """Verify each object's votes, reject them, or redetect the object.

        Args:
            object_ids: one for each object.
            cells: (C, h, w) at 8 px a cell, unit length.
            votes: float32 (K + 1, h, w), row 0 background; changed in place.
            score: float32 (K, h, w), the target model's, of the object or of others that look like it.
            similarity: float32 (h, w), each cell's to those that voted; 0 where there was no vote.
            pairs: objects that look alike.
        Returns:
            The rejected objects and the cells not to learn from.
        """
        if not object_ids:
            return RedetectionResult(None, [])
        mine = votes[1:]
        held = mine * (mine > 0.5)
        sizes = held.sum((1, 2))
        share = held / sizes.clamp_min(1e-6)[:, None, None]
        facts = torch.stack([mine.sum((1, 2)), sizes, (share * score).sum((1, 2)), (share * similarity).sum((1, 2))], 1)
        suspects: list[Suspect] = []
        for k, (total, size, mean, like) in enumerate(facts.tolist()):
            state = self.states[object_ids[k]]
            missing = total < SMALLEST
            doubted = size < SHRUNK * state.area or mean < DOUBTED
            cut = like < state.similarity - UNLIKE
            needed = PROVEN if cut else REFUTED if doubted or state.helped else -math.inf
            if missing or cut or doubted or state.helped or state.lost:
                suspects.append((k, missing, needed))
            else:
                state.area += 0.1 * (size - state.area)
                state.similarity = like if not state.similarity else state.similarity + 0.1 * (like - state.similarity)
        return self._redetect(object_ids, suspects, cells, votes, score, pairs)

    def _redetect(
        self,
        object_ids: Sequence[int],
        suspects: Sequence[Suspect],
        cells: Tensor,
        votes: Tensor,
        score: Tensor,
        pairs: Sequence[DistractorPair],
    ) -> RedetectionResult:
        """Search for the doubted objects, and accept or reject a candidate for each."""
        ignore_mask: Tensor | None = None
        rejected_rows: list[int] = []
        query: Tensor | None = None
        for k, missing, needed in suspects:
            state = self.states[object_ids[k]]
            state.lost += missing
            if not state.views or (state.lost > LONG and state.lost % 2):
                continue
            query = pool(cells) if query is None else query
            mine = F.avg_pool2d(votes[k + 1][None], 2)[0]
            others = votes[1:].sum(0) - votes[k + 1]
            logits = evidence(query, state.views, F.avg_pool2d(score[k][None], 2)[0])
            candidate = find(logits, mine, F.avg_pool2d(others[None], 2)[0] < 0.5, state.area / 4)
            strong, own, row, column, touches, size = candidate.facts.tolist()
            again = state.hint is not None and max(abs(row - state.hint[0]), abs(column - state.hint[1])) <= STEP
            found = strong >= SURE or (strong >= LIKELY and (again or state.helped > 0))
            state.hint = (row, column) if strong >= LIKELY and not found else None
            found = found and not (touches and not state.helped and size > LARGER * state.area / 4)
            found = found and not _beside_twin(candidate.region, votes[1:], k, pairs)
            if found and (missing or state.helped or needed > -math.inf or (not touches and own < LIKELY)):
                if not touches:
                    votes[k + 1] = 0
                if not (touches and state.helped):
                    state.helped = HELPED
                here = _spread(candidate.region.float(), others.shape) * (others < 0.5)
                sure = torch.sigmoid(_spread(logits, others.shape) + EDGE * (score[k] - 0.5))
                votes[k + 1] = torch.maximum(votes[k + 1], sure * here)
                state.lost = 0
            elif own < needed and not missing:
                votes[k + 1] = 0
                state.lost, state.helped = 1, 0
                rejected_rows.append(k)
            elif not missing:
                state.lost = 0
            votes[0] = (1 - votes[1:].sum(0)).clamp_min(0)
            state.helped = max(0, state.helped - 1)
            if state.lost:
                maybe = _spread((candidate.free & (logits > HINT)).float(), others.shape) > 0.2
                ignore_mask = maybe if ignore_mask is None else ignore_mask | maybe
        return RedetectionResult(ignore_mask, rejected_rows)


def _beside_twin(region: Tensor, votes: Tensor, row: int, pairs: Sequence[DistractorPair]) -> bool:
    """Say whether a region, bool (h, w) at 16 px a cell, touches what the votes (K, 2 h, 2 w) give to a twin."""
    if not pairs:
        return False
    theirs = with_distractors(votes, pairs)[row] - votes[row]
    return bool((region & (F.max_pool2d(theirs[None], 4, 2, 1)[0] > 0.5)).any())


def _thin(rows: Tensor, count: int) -> Tensor:
    """Leave out rows evenly until at most ``count`` are there."""
    if len(rows) <= count:
        return rows
    return rows[torch.arange(count, device=rows.device) * len(rows) // count]


def _spread(planes: Tensor, size: Sequence[int]) -> Tensor:
    """Bring (h, w) from 16 px to 8 px a cell."""
    return F.interpolate(planes[None, None], size=tuple(size), mode="bilinear", align_corners=False)[0, 0]


def _most_alike(views: Sequence[View]) -> int:
    """Tell which view, neither the first nor the last, is most like another."""
    inner = range(1, len(views) - 1)
    alike = [max(views[i].appearance_similarity(other) for j, other in enumerate(views) if j != i) for i in inner]
    return 1 + alike.index(max(alike))

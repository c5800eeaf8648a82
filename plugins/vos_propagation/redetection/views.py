"""Views of an object, and the evidence that they give for each cell of a frame.

A view holds the features of an object's cells and of the other cells of one frame, at 16 px. The evidence of a cell is
a logit, linear in its similarity to the object's cells, in its similarity to the surroundings, and in the target
model's score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.config import EvidenceConfig
from vos_propagation.memory.labels import representative_cells

# A similarity is the mean over this many nearest cells.
NEAREST_CELLS = 3
# Matrix products have multiples of this many rows and columns: torch compiles and keeps a kernel for each new size.
SIZE_MULTIPLE = 128
# An object that covers less than this share of every 16-px cell has no view.
MIN_VIEW_SHARE = 0.2
# A cell is part of the surroundings if the object covers less than this share of it.
MAX_SURROUNDINGS_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class View:
    """The appearance of an object and of its surroundings in one frame.

    Attributes:
        own: (N, C), features of the object's cells, unit length.
        rest: (M, C), features of other cells of the frame, unit length.
        own_chroma: float32 (N, 2), a* and b* of CIELAB of the object's cells.
    """

    own: Tensor
    rest: Tensor
    own_chroma: Tensor


def make_view(cells: Tensor, chroma: Tensor, labels: Tensor, config: EvidenceConfig) -> View | None:
    """Make the view of an object in one frame.

    Args:
        cells: (C, h, w) at 16 px a cell, unit length.
        chroma: float32 (2, h, w), a* and b* of CIELAB.
        labels: (h, w), the object's share of each cell.
        config: the largest number of cells.
    Returns:
        The view; None where the object covers less than a fifth of every cell.
    """
    flat, share = cells.flatten(1).T, labels.flatten()
    if float(share.max()) < MIN_VIEW_SHARE:
        return None
    is_surroundings = share < MAX_SURROUNDINGS_SHARE
    is_own = representative_cells(share)
    own, own_chroma = (_sample(rows[is_own], config.max_object_cells) for rows in (flat, chroma.flatten(1).T))
    return View(own, _sample(flat[is_surroundings], config.max_surroundings_cells), own_chroma)


def key_similarity(query: Tensor, keys: Tensor) -> Tensor:
    """Return float32 (N,), the mean similarity of each row of (N, C) to its nearest rows of (M, C); 0 if M is 0."""
    if not len(keys):
        return query.new_zeros(len(query), dtype=torch.float32)
    rows, columns = (F.pad(part, (0, 0, 0, -len(part) % SIZE_MULTIPLE)) for part in (query, keys))
    similarity = (rows @ columns.T)[: len(query), : len(keys)].float()
    return similarity.topk(min(NEAREST_CELLS, len(keys)), dim=1).values.mean(1)


def evidence(cells: Tensor, views: Sequence[View], score: Tensor, config: EvidenceConfig) -> Tensor:
    """Compute the evidence that each cell shows the object.

    Args:
        cells: (C, h, w) at 16 px a cell, unit length.
        views: one or more.
        score: float32 (h, w), the target model's.
        config: the weights of the measurements.
    Returns:
        float32 (h, w) logits.
    """
    query = cells.flatten(1).T
    similarity = key_similarity(query, torch.cat([view.own for view in views]))
    partial = config.object_weight * similarity + config.score_weight * score.flatten() + config.bias
    highest = partial + config.surroundings_weight * config.least_surroundings
    compared = (highest > config.min_evidence).nonzero()[:, 0]
    surroundings = torch.full_like(partial, config.usual_surroundings)
    rest = torch.cat([view.rest for view in views])
    surroundings[compared] = key_similarity(query.index_select(0, compared), rest)
    return (partial + config.surroundings_weight * surroundings).view_as(score)


def chroma_distance(chroma: Tensor, views: Sequence[View]) -> float:
    """Return the median distance of cells' chroma, float32 (N, 2), N at least 1, to the nearest of the views' cells."""
    known = torch.cat([view.own_chroma for view in views])
    return float(torch.cdist(chroma, known).amin(1).median())


def _sample(rows: Tensor, count: int) -> Tensor:
    """Return at most ``count`` rows, evenly spaced."""
    if len(rows) <= count:
        return rows
    return rows[torch.arange(count, device=rows.device) * len(rows) // count]

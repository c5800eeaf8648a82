"""Candidate regions of an object: connected cells with positive evidence, at 16 px a cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# A region touches its object if it contains a cell with a higher share of the object's votes.
MIN_TOUCHED_SHARE = 0.3


@dataclass(frozen=True)
class Candidate:
    """A region in which an object may be.

    Attributes:
        region: bool (h, w), connected cells.
        strength: the region's evidence, from ``region_strength``.
        touches_votes: whether the region contains a cell that votes for the object.
    """

    region: Tensor
    strength: float
    touches_votes: bool


def find_candidate(evidence: Tensor, votes: Tensor, free: Tensor, visible_cells: int) -> Candidate:
    """Find the region where an object is most likely to be.

    Args:
        evidence: float32 (h, w), the object's.
        votes: float32 (h, w), the object's.
        free: bool (h, w), cells that no other object holds.
        visible_cells: the region's strength is the mean evidence of this many of its cells.
    Returns:
        The connected region (8-neighbours) of positive evidence around the cell with the most evidence nearby; empty
        if there is no such cell.
    """
    allowed = (evidence > 0) & free
    nearby = F.avg_pool2d(evidence.clamp_min(0)[None], 3, 1, 1)[0]
    _, components = cv2.connectedComponents(allowed.cpu().numpy().view(np.uint8), connectivity=8)
    component = torch.from_numpy(components).to(evidence.device)
    centre = torch.where(allowed, nearby, 0).flatten().argmax()
    region = (component == component.flatten()[centre]) & allowed
    strength = region_strength(evidence, region, visible_cells)
    return Candidate(region, float(strength), bool((region & (votes > MIN_TOUCHED_SHARE)).any()))


def region_strength(evidence: Tensor, region: Tensor, count: int) -> Tensor:
    """Return the mean evidence of a region's ``count`` best cells, a scalar; missing cells count as 0."""
    values = torch.where(region, evidence, 0).flatten()
    return values.topk(min(count, len(values))).values.sum() / count

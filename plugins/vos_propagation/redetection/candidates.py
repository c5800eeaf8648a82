"""Candidate regions of an object: connected cells with positive evidence, at 16 px a cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# A region grows by this many cells before a test of whether it still grows, which waits for the device.
DILATIONS_PER_TEST = 8
# A cell with a higher share of the object's votes is held by the object.
MIN_HELD_SHARE = 0.3
# Mean evidence of an object that holds no cell.
NO_EVIDENCE = -100


@dataclass(frozen=True)
class Candidate:
    """A region in which an object may be.

    Attributes:
        region: bool (h, w), connected cells.
        free: bool (h, w), cells that no other object holds.
        strength: the region's evidence, from ``region_strength``.
        held_evidence: mean evidence of the cells that the object holds now; ``NO_EVIDENCE`` if it holds none.
        row: row of the region's centre, cells.
        column: column of the region's centre, cells.
        touches_held: whether the region contains a cell that the object holds.
        area: cells in the region.
    """

    region: Tensor
    free: Tensor
    strength: float
    held_evidence: float
    row: float
    column: float
    touches_held: bool
    area: float


def find_candidate(evidence: Tensor, votes: Tensor, free: Tensor, visible_cells: int) -> Candidate:
    """Find the region where an object is most likely to be.

    Args:
        evidence: float32 (h, w), the object's.
        votes: float32 (h, w), the object's.
        free: bool (h, w), cells that no other object holds.
        visible_cells: the region's strength is the mean evidence of this many of its cells.
    Returns:
        The connected region of positive evidence around the cell with the most evidence nearby.
    """
    allowed = (evidence > 0) & free
    nearby = F.avg_pool2d(evidence.clamp_min(0)[None], 3, 1, 1)[0]
    centre = torch.where(allowed, nearby, 0).flatten().argmax()
    seed = (torch.arange(allowed.numel(), device=evidence.device) == centre).view_as(allowed)
    region = grow(seed, allowed)
    held = votes * (votes > MIN_HELD_SHARE)
    held_evidence = (held * evidence).sum() / held.sum().clamp_min(1e-6) + NO_EVIDENCE * (held.sum() == 0)
    row, column = centre // evidence.shape[1], centre % evidence.shape[1]
    touches = (region & (held > 0)).any()
    facts = [region_strength(evidence, region, visible_cells), held_evidence, row, column, touches, region.sum()]
    # One copy from the device for all six.
    strength, own, y, x, touching, area = torch.stack([fact.float() for fact in facts]).tolist()
    return Candidate(region, free, strength, own, y, x, bool(touching), area)


def grow(seeds: Tensor, allowed: Tensor) -> Tensor:
    """Grow seeds, bool (h, w), over all allowed cells that are connected to them by 8-neighbours."""
    region = seeds & allowed
    while True:
        before = region
        for _ in range(DILATIONS_PER_TEST):
            region = (F.max_pool2d(region[None].float(), 3, 1, 1)[0] > 0) & allowed
        if torch.equal(region, before):
            return region


def region_strength(evidence: Tensor, region: Tensor, count: int) -> Tensor:
    """Return the mean evidence of a region's ``count`` best cells, a scalar; missing cells count as 0."""
    values = torch.where(region, evidence, 0).flatten()
    return values.topk(min(count, len(values))).values.sum() / count

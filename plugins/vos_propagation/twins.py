"""Objects that look alike, told apart by where they were and by being one thing each.

What looks like one twin looks like the other: near both, the cells of either vote for either, and who is who becomes a
matter of chance. Where it went since the frame before is then the better witness. And who has a place of its own is not
in that of another as well. Objects that look different are left to the votes: they know better than optical flow who
hides whom.
"""

from __future__ import annotations

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
class Twins:
    """Two objects that look alike.

    Attributes:
        first: the row of one, from 0.
        second: the row of the other.
        alike: how much so, above 0, at most 1.
    """

    first: int
    second: int
    alike: float


def find_twins(looks: Sequence[Tensor]) -> list[Twins]:
    """Find the objects that look alike.

    Args:
        looks: for each object (N, C), its cells where it was annotated, of unit length; N may be 0.
    """
    cells = [own[:: -(-len(own) // COMPARED) or 1].float() for own in looks]
    twins = []
    for (first, one), (second, other) in itertools.combinations(enumerate(cells), 2):
        if len(one) and len(other):
            similarity = one @ other.T
            least = float(torch.minimum(similarity.amax(0).mean(), similarity.amax(1).mean()))
            if least > DIFFERENT:
                twins.append(Twins(first, second, min(1.0, (least - DIFFERENT) / (SAME - DIFFERENT))))
    return twins


def with_twins(planes: Tensor, twins: Sequence[Twins]) -> Tensor:
    """Add to each object's plane those of its twins, (K, h, w): what speaks for one speaks for the other."""
    if not twins:
        return planes
    together = planes.clone()
    for pair in twins:
        together[pair.first] += pair.alike * planes[pair.second]
        together[pair.second] += pair.alike * planes[pair.first]
    return together


def chances_of(carried: Tensor) -> Tensor:
    """Say how likely a cell is to be each object's by where that was.

    Args:
        carried: float32 (K, h, w), each object's last mask, carried along.
    Returns:
        float32 (K, h, w), at least ``DOUBT``.
    """
    side = 2 * OFF + 1
    if carried.device.type != "cpu":
        return F.avg_pool2d(carried[None], side, stride=1, padding=OFF)[0] + DOUBT
    # OpenCV takes a twentieth of the time of torch.
    around = torch.empty_like(carried)
    for plane, out in zip(carried.numpy(), around.numpy(), strict=True):
        cv2.blur(plane, (side, side), dst=out, borderType=cv2.BORDER_CONSTANT)
    return around.add_(DOUBT)


def tell_apart(votes: Tensor, chances: Tensor, twins: Sequence[Twins]) -> None:
    """Share out what two twins have together by the chances of each.

    Args:
        votes: float32 (K, h, w), each object's; changed in place.
        chances: float32 (K, h, w), from ``chances_of``.
        twins: rows of the objects.
    """
    for pair in twins:
        one, other = votes[pair.first], votes[pair.second]
        both = one + other
        own, theirs = one * chances[pair.first], other * chances[pair.second]
        one.lerp_(both * own / (own + theirs).clamp_min(1e-6), pair.alike)
        torch.sub(both, one, out=other)


def settled(
    logits: Tensor, carried: Tensor, usual: Sequence[float], annotated: Sequence[AnyArray], twins: Sequence[Twins]
) -> Tensor:
    """Give what twins claim beside their own places to the twins that it lies with, or that are missing.

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
    before = carried.cpu().numpy()
    changed = logits.clone()
    for group in _groups(twins):
        regions = cv2.connectedComponents(np.any(claimed[group], axis=0).astype(np.uint8), connectivity=8)[1]
        places = [_Places(k, regions, claimed[k], before[k], usual[k]) for k in group]
        for own in places:
            for region in own.beside_home():
                piece = claimed[own.row] & (regions == region)
                heir = _heir(own, region, places)
                if heir is None or annotated[own.row][piece].mean() > ANNOTATED * 255:
                    continue
                where = torch.from_numpy(piece).to(logits.device)
                changed[own.row][where], changed[heir.row][where] = -logits[own.row][where], logits[own.row][where]
                heir.cells[region] += own.cells[region]
                own.cells[region] = 0
    return changed


class _Places:
    """Where an object is.

    Attributes:
        row: the object's, from 0.
        cells: int64 (R,), how many cells it has in each region.
        weights: float64 (R,), and how many of those it had before.
        home: the region where it had most.
        usual: how many cells it mostly has.
    """

    def __init__(self, row: int, regions: AnyArray, claimed: AnyArray, carried: FloatArray, usual: float) -> None:
        where, count = regions[claimed], int(regions.max()) + 1
        self.row = row
        self.cells = np.bincount(where, minlength=count)
        self.weights = np.bincount(where, carried[claimed] + DOUBT, minlength=count)
        self.home = int(self.weights.argmax())
        self.usual = usual

    def beside_home(self) -> list[int]:
        """List the regions where it has something beside its home; none while it is not settled there."""
        if self.cells[self.home] < SETTLED * self.usual:
            return []
        return [region for region in np.flatnonzero(self.cells).tolist() if region != self.home]


def _heir(own: _Places, region: int, places: Sequence[_Places]) -> _Places | None:
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


def _groups(twins: Sequence[Twins]) -> list[list[int]]:
    """List the rows that are twins of each other, directly or by a third."""
    groups: list[set[int]] = []
    for pair in twins:
        if pair.alike >= CERTAIN:
            rows = {pair.first, pair.second}
            rows.update(*(group for group in groups if group & rows))
            groups = [group for group in groups if not group & rows] + [rows]
    return [sorted(group) for group in groups]

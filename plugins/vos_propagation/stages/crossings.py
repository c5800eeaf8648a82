"""Stage ``crossings``: tell objects that look alike apart again after one has hidden the other.

While two such objects touch, nothing in a single frame tells whose a cell is, and the one in front often keeps what
comes out from behind it. So points are put on both when they touch, and follow their motion. Once the cells of the two
are parts apart from each other, each part goes to the object that has more points in sight on it, and a part without
points where it is missing, if the areas of both are then nearer to their usual ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING

import cv2
import numpy as np

from vos.plugin import AnyArray, BoolArray, FloatArray
from vos_propagation.config import CrossingConfig
from vos_propagation.ops.point_tracks import PointTracks
from vos_propagation.stages.flow import backward_flow
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


# Step of the running mean of an object's usual area.
RUNNING_MEAN_STEP = 0.1
# An object with less than this share of its usual area is hidden in part.
MIN_SEEN_SHARE = 0.5


@dataclass
class Contacts:
    """The usual areas of the objects, and the pairs in contact.

    Attributes:
        usual_areas: the running mean of each object's area while it touches no look-alike, cells of 4 px.
        points: the points of both objects, by the ids of each pair in contact: from when they touch until they are
            apart and neither is hidden.
    """

    usual_areas: dict[int, float] = field(default_factory=dict)
    points: dict[tuple[int, int], tuple[PointTracks, PointTracks]] = field(default_factory=dict)

    def forget(self, object_id: int) -> None:
        """Drop an object, and the pairs that it is of."""
        self.usual_areas.pop(object_id, None)
        self.points = {pair: points for pair, points in self.points.items() if object_id not in pair}

    def shares_seen(self, object_ids: Sequence[int], masks: BoolArray) -> list[float]:
        """Return the area of each mask, (K, h, w), by the usual one."""
        areas = masks.sum((1, 2)).tolist()
        return [area / self.usual_areas[i] for i, area in zip(object_ids, areas, strict=True)]

    def may_come_out(self, pair: tuple[int, int], first_seen: float, second_seen: float) -> bool:
        """Test whether one of a pair is hidden, by the shares seen of both, and some object is in contact with both."""
        one, other = pair
        is_hidden = min(first_seen, second_seen) < MIN_SEEN_SHARE
        return is_hidden and not self._partners(one).isdisjoint(self._partners(other))

    def _partners(self, object_id: int) -> set[int]:
        """Return the objects that an object is in contact with."""
        return {other for pair in self.points if object_id in pair for other in pair} - {object_id}

    def update_areas(self, object_ids: Sequence[int], masks: BoolArray) -> None:
        """Follow the areas of the objects, masks (K, h, w), that touch no look-alike and are not hidden."""
        touching = {object_id for pair in self.points for object_id in pair}
        for object_id, share in zip(object_ids, self.shares_seen(object_ids, masks), strict=True):
            if object_id not in touching and share >= MIN_SEEN_SHARE:
                self.usual_areas[object_id] *= 1 + RUNNING_MEAN_STEP * (share - 1)


class Crossings(Stage):
    """Changes ``logits_s4``: of two look-alikes that have touched, each gets the parts that its points are on.

    Attributes:
        contacts: what is known of the objects.
    """

    name = "crossings"
    saved = ("contacts",)

    def __init__(self, config: CrossingConfig) -> None:
        self._config = config
        self.contacts = Contacts()

    def reset(self) -> None:
        """Drop all objects."""
        self.contacts = Contacts()

    def annotate(self, sequence: SequenceState, object_id: int, share: FloatArray) -> None:
        """Begin anew with an object: its usual area is that of the annotation."""
        self.contacts.forget(object_id)
        self.contacts.usual_areas[object_id] = max(1.0, float((share > 0.5).sum()))

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.contacts.forget(object_id)

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Follow the points of the pairs in contact, and divide the cells of those that are apart again."""
        if not sequence.distractors:
            return
        ids, contacts, config = sequence.object_ids, self.contacts, self._config
        masks, forward = (frame.logits_s4 > 0).cpu().numpy(), None
        seen, may_touch = contacts.shares_seen(ids, masks), _boxes_touch(masks, config.reach)
        # What comes out from behind an object is first that of the pair of which one is hidden most.
        for pair in sorted(sequence.distractors, key=lambda pair: min(seen[pair.first], seen[pair.second])):
            rows, key = [pair.first, pair.second], (ids[pair.first], ids[pair.second])
            points = contacts.points.get(key)
            if points is None:
                touch = may_touch[pair.first, pair.second] and _touch(masks[rows], config.reach)
                if touch or contacts.may_come_out(key, seen[pair.first], seen[pair.second]):
                    first, second = (PointTracks.on(mask, frame.flow_s4) for mask in masks[rows])
                    contacts.points[key] = first, second
                continue
            if forward is None and any(len(tracks.places) for tracks in points):
                forward = backward_flow(sequence.features.grey, frame.features.grey)
            if forward is not None:
                union = np.logical_or(masks[pair.first], masks[pair.second])
                for tracks in points:
                    tracks.advance(forward, frame.flow_s4, union, config)
            if max(tracks.share_left for tracks in points) >= config.points_left:
                usual = [contacts.usual_areas[object_id] for object_id in key]
                for part, giver, taker in divided(masks[rows], points, usual, config):
                    frame.give(part, rows[giver], rows[taker])
                    masks[rows[giver]] &= ~part
                    masks[rows[taker]] |= part
            are_seen = min(contacts.shares_seen(key, masks[rows])) >= MIN_SEEN_SHARE
            if are_seen and not _touch(masks[rows], config.reach):
                del contacts.points[key]
        contacts.update_areas(ids, masks)


def divided(
    masks: BoolArray, points: Sequence[PointTracks], usual: Sequence[float], config: CrossingConfig
) -> list[tuple[BoolArray, int, int]]:
    """Divide the cells of two look-alikes: each connected part of them to one of the two.

    Parts are put in the order of their points per cell, of the first object less those of the second one, and the order
    is cut in two: where the sign changes, and of the parts with about no points where the areas of both are nearest to
    the usual ones.

    Args:
        masks: bool (2, h, w), the cells of both.
        points: the points of both.
        usual: the usual areas of both, cells.
        config: which parts are large enough, and when they differ enough.
    Returns:
        The cells (h, w) that change hands, with who gives and who takes them, 0 or 1; none where the areas would not
        come clearly nearer to the usual ones.
    """
    union = np.logical_or(masks[0], masks[1])
    count, parts = cv2.connectedComponents(_reached(union, 1).view(np.uint8), connectivity=8)
    parts *= union
    cells, held = (
        np.stack([np.bincount(parts[index], minlength=count) for index in indices])
        for indices in (masks, [tracks.cells() for tracks in points])
    )
    cells[:, 0] = 0
    sizes = cells.sum(0)
    large = np.nonzero(sizes >= max(1.0, config.part_share * min(usual)))[0]
    lead = (held[0, large] - held[1, large]) / sizes[large]
    large, lead = large[np.argsort(lead, kind="stable")], np.sort(lead, kind="stable")
    least_lead = config.lead * float((held[:, large] / sizes[large]).max(initial=0))
    best, best_misfit = None, _misfit(cells.sum(1), usual) - config.gain
    for cut in range(1, len(large)):
        if lead[cut] - lead[cut - 1] > least_lead and lead[cut - 1] <= least_lead and lead[cut] >= -least_lead:
            after = cells.copy()
            after[:, large] = 0
            after[1, large[:cut]], after[0, large[cut:]] = sizes[large[:cut]], sizes[large[cut:]]
            misfit = _misfit(after.sum(1), usual)
            if misfit < best_misfit:
                best, best_misfit = cut, misfit
    if best is None:
        return []
    to_second, to_first = (np.isin(parts, chosen) for chosen in (large[:best], large[best:]))
    return [(masks[0] & to_second, 0, 1), (masks[1] & to_first, 1, 0)]


def _misfit(areas: AnyArray, usual: Sequence[float]) -> float:
    """Return how far two areas are from the usual ones, in logarithms."""
    return sum(abs(log(max(1.0, area) / known)) for area, known in zip(areas.tolist(), usual, strict=True))


def _boxes_touch(masks: BoolArray, reach: int) -> BoolArray:
    """Test which boxes of masks, (K, h, w), are at most ``reach`` cells apart: (K, K)."""
    boxes = np.array([cv2.boundingRect(mask.view(np.uint8)) for mask in masks])
    first, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:] + reach
    return np.asarray(((first[:, None] <= end) & (first <= end[:, None])).all(2))


def _touch(masks: BoolArray, reach: int) -> bool:
    """Test whether cells of two masks, (2, h, w), are at most ``reach`` cells apart."""
    return bool((_reached(masks[0], reach) & masks[1]).any())


def _reached(mask: BoolArray, reach: int) -> BoolArray:
    """Grow a mask (h, w) by ``reach`` cells in all directions."""
    return cv2.dilate(mask.view(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)).astype(bool)

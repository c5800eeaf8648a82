"""Spans of a run that a person should look at: where a score falls, a mask changes at once, or takes another's place.

It reads what the writers get, frame by frame, and keeps one small label map and the spans found so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vos.types.arrays import AnyArray, BoolArray, LabelMap
from vos.types.prediction import Prediction
from vos.types.run import DoubtfulSpan

LOWEST_SCORE = 0.7
"""A mask with a lower score is doubted,"""
SCORE_FALL = 0.08
"""and one whose score is so far below what the object usually has."""
SHRUNK, GROWN = 0.75, 1.35
"""Areas, as shares of the usual area, beyond which a change within ``RECENT`` frames is doubted."""
TAKEN = 0.1
"""Share of an object's mask that lies where another object was in the frame before, while its mask grows,"""
TAKING = 1.1
"""to so many times its usual area."""
RECENT = 0.3
"""Weight of a new frame in what is usual: about 3 frames count."""
CELL = 4
"""Every so many-th pixel of a label map is looked at."""
LEAST_CELLS = 6
"""Masks of fewer cells are not judged by their area."""
PART = 0.015
"""Share of a mask from which a piece that is lost is doubted."""
GAP = 3
"""Doubtful frames with at most so many others between them are one span."""
MOST_SPANS = 100
"""Spans kept for each object; more are joined to the last."""


@dataclass
class _Usual:
    """What an object usually has: its score and its area, cells."""

    score: float | None = None
    area: float | None = None
    spans: list[DoubtfulSpan] = field(default_factory=list)


class DoubtDetector:
    """Collects the doubtful spans of each object; frames come in the order of tracking, in either direction."""

    def __init__(self, step: int = 1) -> None:
        """Begin.

        Args:
            step: difference between the indices of two frames that follow each other.
        """
        self._step = step
        self._objects: dict[int, _Usual] = {}
        self._index: int | None = None
        self._before: AnyArray | None = None

    @property
    def spans(self) -> tuple[DoubtfulSpan, ...]:
        """The spans found so far, by object id and first frame."""
        return joined_spans([span for usual in self._objects.values() for span in usual.spans], self._step)

    def add(
        self, index: int, label_map: LabelMap, prediction: Prediction, annotated: Sequence[int] = ()
    ) -> dict[int, str]:
        """Judge a frame.

        Args:
            index: of the frame.
            label_map: uint8 (H, W), what is written.
            prediction: of the frame.
            annotated: ids of the objects that an annotation gives in this frame: they are not doubted.
        Returns:
            The reason by id of each object that is doubtful in this frame; ``DoubtfulSpan.reasons`` lists them.
        """
        reasons: dict[int, str] = {}
        cells = label_map[CELL // 2 :: CELL, CELL // 2 :: CELL]
        follows = self._index is not None and abs(index - self._index) == self._step
        before = self._before if follows and self._before is not None and self._before.shape == cells.shape else None
        counts = np.bincount(cells.ravel(), minlength=256)
        for row, object_id in enumerate(prediction.object_ids):
            usual = self._objects.setdefault(object_id, _Usual())
            if object_id in annotated or before is None:
                usual.score = usual.area = None
            score = None if prediction.scores is None else float(prediction.scores[row])
            area = float(counts[object_id])
            reason = self._reason(usual, object_id, score, area, cells, before)
            if reason is not None and object_id not in annotated:
                _add(usual.spans, DoubtfulSpan(object_id, index, index, (reason,)), self._step)
                reasons[object_id] = reason
            usual.area = _mean(usual.area, area)
            usual.score = _mean(usual.score, score) if area else usual.score
        self._index, self._before = index, cells.copy()
        return reasons

    def _reason(
        self, usual: _Usual, object_id: int, score: float | None, area: float, cells: AnyArray, before: AnyArray | None
    ) -> str | None:
        """Say why an object's mask is doubtful; None where it is not."""
        judged = usual.area is not None and max(area, usual.area) >= LEAST_CELLS
        if judged and before is not None and usual.area is not None:
            others = np.count_nonzero((cells == object_id) & (before != object_id) & (before != 0))
            if area > TAKING * usual.area and others > TAKEN * area:
                return "takes another's place"
            if not area:
                gone = before == object_id
                return "vanishes" if gone.any() and not _at_border(gone) else None
            if _lost_part(before == object_id, cells == object_id):
                return "loses a part"
        if score is not None and area and (score < LOWEST_SCORE or score < (usual.score or 0) - SCORE_FALL):
            return "low score"
        if judged and usual.area and area and not SHRUNK < area / usual.area < GROWN:
            return "changes size"
        return None


def _mean(usual: float | None, value: float | None) -> float | None:
    if usual is None or value is None:
        return value
    return usual + RECENT * (value - usual)


def _lost_part(before: BoolArray, now: BoolArray) -> bool:
    """Say whether a piece that lay apart from the rest of a mask is there no more, and did not leave the frame."""
    import cv2  # here, so that `import vos` stays quick

    count, pieces, stats, _ = cv2.connectedComponentsWithStats(before.view(np.uint8), connectivity=8)
    if count < 3:
        return False
    around = cv2.dilate(now.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    least = max(LEAST_CELLS, PART * before.sum())
    return any(
        stats[piece, cv2.CC_STAT_AREA] >= least
        and not _at_border(pieces == piece)
        and not around[pieces == piece].any()
        for piece in range(1, count)
    )


def _at_border(mask: AnyArray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _add(spans: list[DoubtfulSpan], new: DoubtfulSpan, step: int) -> None:
    """Add a doubtful frame: to the last span where that is near."""
    same = bool(spans) and spans[-1].object_id == new.object_id
    if same and (_near(spans[-1], new, step) or len(spans) >= MOST_SPANS):
        spans[-1] = _union(spans[-1], new)
    else:
        spans.append(new)


def joined_spans(spans: Iterable[DoubtfulSpan], step: int) -> tuple[DoubtfulSpan, ...]:
    """Sort spans by object id and first frame, and join those of an object that touch.

    Args:
        spans: of any objects; those of a backward and a forward pass may touch.
        step: difference between the indices of two frames that follow each other.
    """
    joined: list[DoubtfulSpan] = []
    for span in sorted(spans, key=lambda span: (span.object_id, span.first)):
        _add(joined, span, step)
    return tuple(joined)


def _near(one: DoubtfulSpan, other: DoubtfulSpan, step: int) -> bool:
    return other.first - one.last <= (GAP + 1) * step and one.first - other.last <= (GAP + 1) * step


def _union(one: DoubtfulSpan, other: DoubtfulSpan) -> DoubtfulSpan:
    reasons = tuple(dict.fromkeys((*one.reasons, *other.reasons)))
    return DoubtfulSpan(one.object_id, min(one.first, other.first), max(one.last, other.last), reasons)

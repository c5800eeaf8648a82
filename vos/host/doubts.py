"""Find the doubtful spans of a run: frames in which an object's score falls or its mask changes suddenly.

A person should check these frames. The detector sees each tracked frame once, and keeps one subsampled label map and
the spans so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vos.types.arrays import AnyArray, BoolArray, LabelMap
from vos.types.prediction import Prediction
from vos.types.run import DoubtfulSpan


@dataclass(frozen=True)
class DoubtConfig:
    """Thresholds for doubtful masks, and for joining doubtful frames to spans.

    Attributes:
        min_score: a mask with a lower score is doubtful,
        max_score_fall: and a mask whose score is lower than the object's usual score by more than this.
        min_area_change: a mask is doubtful if its area, divided by the object's usual area, is below this,
        max_area_change: or above this.
        max_covered_share: a growing mask is doubtful if more than this share of it lies where the frame before shows
            another object.
        min_growth: a mask grows if its area is more than this multiple of the usual area.
        min_lost_share: a fragment with more than this share of a mask is doubtful when it disappears inside the frame.
        usual_weight: weight of a new frame in the running means of the usual score and area.
        min_cells: the area of smaller masks is not judged, cells.
        max_gap: doubtful frames with at most this many frames between them are one span.
        max_spans: spans kept for each object; later ones are joined to the last span.
    """

    min_score: float = 0.7
    max_score_fall: float = 0.08
    min_area_change: float = 0.75
    max_area_change: float = 1.35
    max_covered_share: float = 0.1
    min_growth: float = 1.1
    min_lost_share: float = 0.015
    usual_weight: float = 0.3
    min_cells: int = 6
    max_gap: int = 3
    max_spans: int = 100


CONFIG = DoubtConfig()

CELL = 4
"""Label maps are sampled at every n-th pixel in both directions; a sample is a cell."""


@dataclass
class _Usual:
    """Running means of an object's score and area in cells, and the object's spans."""

    score: float | None = None
    area: float | None = None
    spans: list[DoubtfulSpan] = field(default_factory=list)


@dataclass(frozen=True)
class DoubtEntry:
    """The detector's findings in one frame, and what it knows after the frame.

    Attributes:
        frame: index of the frame.
        reasons: by id of each object that is doubtful in the frame.
        usual: by id of each object so far, the running means of its score and area in cells.
    """

    frame: int
    reasons: Mapping[int, str]
    usual: Mapping[int, tuple[float | None, float | None]]

    @property
    def spans(self) -> list[DoubtfulSpan]:
        """A span of this frame alone for each object that is doubtful in it."""
        return [DoubtfulSpan(i, self.frame, self.frame, (reason,)) for i, reason in self.reasons.items()]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> DoubtEntry:
        """Make an entry of what JSON keeps of one; whatever does not fit raises."""
        reasons = {int(i): str(reason) for i, reason in plain["reasons"].items()}
        usual = {int(i): (_float(score), _float(area)) for i, (score, area) in plain["usual"].items()}
        return cls(int(plain["frame"]), reasons, usual)


class DoubtDetector:
    """Collects the doubtful spans of each object, from frames in the order of tracking, forward or backward."""

    def __init__(self, step: int = 1) -> None:
        """Start without earlier frames.

        Args:
            step: difference between the indices of two consecutive frames.
        """
        self._step = step
        self._objects: dict[int, _Usual] = {}
        self._index: int | None = None
        self._before: AnyArray | None = None

    def keep(self, spans: Iterable[DoubtfulSpan]) -> None:
        """Collect spans that were found before, in the order of tracking."""
        for span in spans:
            _add(self._objects.setdefault(span.object_id, _Usual()).spans, span, self._step)

    def resume(self, entries: Sequence[DoubtEntry], label_map: LabelMap) -> None:
        """Go on as after the frames of these entries.

        Args:
            entries: of all frames so far, in the order of tracking; at least one.
            label_map: uint8 (H, W), of the last one.
        """
        for entry in entries:
            self.keep(entry.spans)
        for object_id, (score, area) in entries[-1].usual.items():
            usual = self._objects.setdefault(object_id, _Usual())
            usual.score, usual.area = score, area
        self._index, self._before = entries[-1].frame, _cells(label_map).copy()

    @property
    def spans(self) -> tuple[DoubtfulSpan, ...]:
        """The spans so far, by object id and first frame."""
        return joined_spans([span for usual in self._objects.values() for span in usual.spans], self._step)

    def add(self, index: int, label_map: LabelMap, prediction: Prediction, annotated: Sequence[int] = ()) -> DoubtEntry:
        """Add a tracked frame.

        Args:
            index: index of the frame.
            label_map: uint8 (H, W), the label map that is written.
            prediction: the tracker's prediction.
            annotated: ids of the objects that are annotated in this frame, which are not doubtful.
        Returns:
            What was found, with the reasons that ``DoubtfulSpan.reasons`` lists.
        """
        reasons: dict[int, str] = {}
        cells = _cells(label_map)
        is_next = self._index is not None and abs(index - self._index) == self._step
        before = self._before if is_next and self._before is not None and self._before.shape == cells.shape else None
        counts = np.bincount(cells.ravel(), minlength=256)
        for row, object_id in enumerate(prediction.object_ids):
            usual = self._objects.setdefault(object_id, _Usual())
            if object_id in annotated or before is None:
                usual.score = usual.area = None
            score = None if prediction.scores is None else float(prediction.scores[row])
            area = float(counts[object_id])
            reason = self._reason(usual, object_id, score, area, cells, before)
            if reason is not None and object_id not in annotated:
                reasons[object_id] = reason
            usual.area = _mean(usual.area, area)
            usual.score = _mean(usual.score, score) if area else usual.score
        self._index, self._before = index, cells.copy()
        entry = DoubtEntry(index, reasons, {i: (usual.score, usual.area) for i, usual in self._objects.items()})
        self.keep(entry.spans)
        return entry

    def _reason(
        self, usual: _Usual, object_id: int, score: float | None, area: float, cells: AnyArray, before: AnyArray | None
    ) -> str | None:
        """Return the reason why an object's mask is doubtful; None if it is not."""
        is_large = usual.area is not None and max(area, usual.area) >= CONFIG.min_cells
        if is_large and before is not None and usual.area is not None:
            covered = np.count_nonzero((cells == object_id) & (before != object_id) & (before != 0))
            if area > CONFIG.min_growth * usual.area and covered > CONFIG.max_covered_share * area:
                return "takes another's place"
            if not area:
                last_mask = before == object_id
                return "vanishes" if last_mask.any() and not _at_border(last_mask) else None
            if _lost_part(before == object_id, cells == object_id):
                return "loses a part"
        lowest = max(CONFIG.min_score, (usual.score or 0) - CONFIG.max_score_fall)
        if score is not None and area and score < lowest:
            return "low score"
        if is_large and usual.area and area:
            change = area / usual.area
            if not CONFIG.min_area_change < change < CONFIG.max_area_change:
                return "changes size"
        return None


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _cells(label_map: LabelMap) -> AnyArray:
    return label_map[CELL // 2 :: CELL, CELL // 2 :: CELL]


def _mean(usual: float | None, value: float | None) -> float | None:
    if usual is None or value is None:
        return value
    return usual + CONFIG.usual_weight * (value - usual)


def _lost_part(before: BoolArray, now: BoolArray) -> bool:
    """Test whether a fragment, a component apart from the rest of the mask before, disappeared inside the frame."""
    import cv2  # here, so that `import vos` stays quick

    count, components, stats, _ = cv2.connectedComponentsWithStats(before.view(np.uint8), connectivity=8)
    if count < 3:
        return False
    near_mask = cv2.dilate(now.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    min_area = max(CONFIG.min_cells, CONFIG.min_lost_share * before.sum())
    return any(
        stats[label, cv2.CC_STAT_AREA] >= min_area
        and not _at_border(components == label)
        and not near_mask[components == label].any()
        for label in range(1, count)
    )


def _at_border(mask: AnyArray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _add(spans: list[DoubtfulSpan], new: DoubtfulSpan, step: int) -> None:
    """Add a span, or extend the last span of the same object if the two are close."""
    same = bool(spans) and spans[-1].object_id == new.object_id
    if same and (_near(spans[-1], new, step) or len(spans) >= CONFIG.max_spans):
        spans[-1] = _union(spans[-1], new)
    else:
        spans.append(new)


def joined_spans(spans: Iterable[DoubtfulSpan], step: int) -> tuple[DoubtfulSpan, ...]:
    """Sort spans by object id and first frame, and join spans of an object that are close.

    Args:
        spans: spans of any objects, of forward and backward passes.
        step: difference between the indices of two consecutive frames.
    """
    joined: list[DoubtfulSpan] = []
    for span in sorted(spans, key=lambda span: (span.object_id, span.first)):
        _add(joined, span, step)
    return tuple(joined)


def _near(one: DoubtfulSpan, other: DoubtfulSpan, step: int) -> bool:
    distance = (CONFIG.max_gap + 1) * step
    return other.first - one.last <= distance and one.first - other.last <= distance


def _union(one: DoubtfulSpan, other: DoubtfulSpan) -> DoubtfulSpan:
    reasons = tuple(dict.fromkeys((*one.reasons, *other.reasons)))
    return DoubtfulSpan(one.object_id, min(one.first, other.first), max(one.last, other.last), reasons)

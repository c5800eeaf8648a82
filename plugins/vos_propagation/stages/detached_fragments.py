"""Stage ``detached_fragments``: drop fragments that move away from their object.

A fragment is a connected component beside the object's main one. Optical flow tracks each fragment that was not
annotated, and the fragment is dropped once it has moved away: a true part behind an occluder moves with the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, FloatArray
from vos_propagation.config import DetachedFragmentConfig
from vos_propagation.ops.components import Cells, part_of, several_components
from vos_propagation.stages.decoder_network import LOGIT_LIMIT
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState


@dataclass(frozen=True)
class Fragment:
    """A connected component of an object beside its main one.

    Attributes:
        age: number of frames since the fragment appeared.
        drift: float (2,), its motion relative to the main component since then, (x, y) cells.
    """

    age: int
    drift: AnyArray


@dataclass
class FragmentState:
    """The fragments of one object in the last frame.

    Attributes:
        annotated: uint8 (h, w), the share of each cell that stems from the annotation, warped since; 255 is all of it.
        has_true_fragments: a correction gave the object several components; no fragment is dropped then.
        fragments: by their number in ``numbers``.
        numbers: int32 (h, w), the number of each cell's fragment, or 0.
        suppressed: uint8 (h, w), for how many more frames a fragment at this cell is dropped; None where all are 0.
    """

    annotated: AnyArray
    has_true_fragments: bool = False
    fragments: Mapping[int, Fragment] = field(default_factory=dict)
    numbers: AnyArray | None = None
    suppressed: AnyArray | None = None


class DetachedFragmentFilter:
    """Tracks the fragments of all objects of a sequence, and drops those that move away."""

    def __init__(self, config: DetachedFragmentConfig) -> None:
        self._config = config
        self._objects: dict[int, FragmentState] = {}

    def annotate(self, object_id: int, share: FloatArray) -> None:
        """Add or correct an object: no component of its annotation is dropped.

        A correction with several components shows that the object is visible in parts, which may move apart.

        Args:
            object_id: new or known.
            share: float32 (h, w), the object's share of each cell.
        """
        is_correction = object_id in self._objects
        has_true_fragments = is_correction and len(several_components(share > 0.5, self._config.min_cells)) > 1
        self._objects[object_id] = FragmentState((255 * share).astype(np.uint8), has_true_fragments)

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self._objects.pop(object_id, None)

    def step(self, object_ids: Sequence[int], logits: Tensor, anchor_score: Tensor, flow: FloatArray) -> Tensor:
        """Lower the logits of fragments that have moved away.

        Args:
            object_ids: one for each row; each was annotated.
            logits: float32 (K, h, w).
            anchor_score: float32 (K, h / 2, w / 2), scores by the annotated frames alone.
            flow: float32 (h, w, 2), from each cell to its position in the frame before, (x, y) cells.
        Returns:
            float32 (K, h, w), the lowest logit in dropped fragments.
        """
        masks = ((logits > 0) & (logits >= logits.amax(0))).cpu().numpy()
        previous = _PreviousFrame(flow)
        dropped = np.zeros_like(masks)
        for row, object_id in enumerate(object_ids):
            state = self._objects[object_id]
            state.annotated = previous.warp_into(masks[row], state.annotated)
            if state.suppressed is not None:
                frames_left = previous.warp_nearest(state.suppressed)
                state.suppressed = frames_left - (frames_left > 0) if frames_left.any() else None
            known, state.fragments = state.fragments, {}
            components = several_components(masks[row], self._config.min_cells)
            if len(components) < 2 or state.has_true_fragments:
                continue
            others = np.logical_or.reduce(np.delete(masks, row, axis=0), axis=0)
            score = anchor_score[row].cpu().numpy()
            totals = [float(score[y // 2, x // 2].clip(0, 1).sum()) for y, x in components]
            main = components.pop(int(np.argmax(totals)))
            self._track(state, known, main, components, others, previous, dropped[row])
        if not dropped.any():
            return logits
        return logits.masked_fill(torch.from_numpy(dropped).to(logits.device), -LOGIT_LIMIT)

    def _track(
        self,
        state: FragmentState,
        known: Mapping[int, Fragment],
        main: Cells,
        components: Sequence[Cells],
        others: AnyArray,
        previous: _PreviousFrame,
        dropped: AnyArray,
    ) -> None:
        """Track the fragments of one object, and mark those that have moved away in ``dropped``, bool (h, w).

        Args:
            state: of the object; updated.
            known: its fragments in the frame before.
            main: cells of the main component, the one with the highest total score.
            components: cells of the other components.
            others: bool (h, w), the masks of the other objects.
            previous: the frame before.
            dropped: filled.
        """
        config = self._config
        main_motion, width = np.median(previous.flow[main], axis=0), len(main[0]) ** 0.5
        side = 2 * config.neighbour_radius + 1
        near_others = cv2.dilate(others.view(np.uint8), np.ones((side, side), np.uint8))
        numbers = np.zeros(others.shape, np.int32)
        fragments = {}
        for number, (y, x) in enumerate(components, start=1):
            if state.annotated[y, x].mean() > config.annotated_share * 255:
                state.annotated[y, x] = 255
                continue
            step = main_motion - np.median(previous.flow[y, x], axis=0)
            fragment = _advance(known.get(previous.number_at(state.numbers, y, x)), step)
            limit = config.max_drift_frames_near_others if near_others[y, x].any() else config.max_drift_frames
            drift = float(np.hypot(*fragment.drift)) / width
            is_detached = drift > config.min_drift and drift * fragment.age > limit
            is_detached = is_detached and _distance_between(main, (y, x)) > config.min_gap * width
            is_suppressed = state.suppressed is not None and np.median(state.suppressed[y, x]) > 0
            if (is_suppressed or is_detached) and len(y) > config.max_tolerated_share * len(main[0]):
                dropped[y, x] = True
            else:
                numbers[y, x] = number
                fragments[number] = fragment
        state.fragments, state.numbers = fragments, numbers
        if dropped.any():
            before = np.zeros(others.shape, np.uint8) if state.suppressed is None else state.suppressed
            state.suppressed = np.where(dropped, np.uint8(config.suppression_frames), before)


class _PreviousFrame:
    """Warps planes of the frame before to this frame."""

    def __init__(self, flow: FloatArray) -> None:
        """Make the warp; ``flow`` is float32 (h, w, 2), from each cell to its position in the frame before."""
        self.flow = flow
        height, width = flow.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        self._map, self._map_fraction = cv2.convertMaps(x + flow[..., 0], y + flow[..., 1], cv2.CV_16SC2)

    def warp_into(self, mask: AnyArray, plane: AnyArray) -> AnyArray:
        """Warp a uint8 plane bilinearly to the cells of a mask, bool (h, w); 0 elsewhere."""
        part = part_of(mask)
        warped = np.zeros(mask.shape, np.uint8)
        if mask[part].size:
            values = cv2.remap(plane, self._map[part], self._map_fraction[part], cv2.INTER_LINEAR)
            np.copyto(warped[part], values, where=mask[part])
        return warped

    def warp_nearest(self, plane: AnyArray) -> AnyArray:
        """Warp a uint8 plane by nearest neighbour; 0 where a cell was outside the frame."""
        return np.asarray(cv2.remap(plane, self._map, self._map_fraction, cv2.INTER_NEAREST))

    def number_at(self, numbers: AnyArray | None, y: AnyArray, x: AnyArray) -> int:
        """Return the most frequent number of some cells in the frame before; 0 without numbers."""
        if numbers is None:
            return 0
        height, width = numbers.shape
        offset = self.flow[y, x].round().astype(np.int64)
        earlier = numbers[(y + offset[:, 1]).clip(0, height - 1), (x + offset[:, 0]).clip(0, width - 1)]
        return int(np.bincount(earlier).argmax())


def _distance_between(one: Cells, other: Cells) -> float:
    """Return the distance between the nearest cells of two components, cells."""
    top, left = (min(int(a.min()), int(b.min())) for a, b in zip(one, other, strict=True))
    bottom, right = (max(int(a.max()), int(b.max())) for a, b in zip(one, other, strict=True))
    outside = np.ones((bottom + 1 - top, right + 1 - left), np.uint8)
    outside[one[0] - top, one[1] - left] = 0
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, 3)
    return float(distance[other[0] - top, other[1] - left].min())


def _advance(fragment: Fragment | None, step: AnyArray) -> Fragment:
    """Return a fragment one frame older, moved by ``step`` relative to the main component; a new one for None."""
    return Fragment(1, step) if fragment is None else Fragment(fragment.age + 1, fragment.drift + step)


class DetachedFragments(Stage):
    """Changes ``logits_s4``: drops fragments that move away from their object."""

    name = "detached_fragments"
    saved = ("filter",)

    def __init__(self, config: DetachedFragmentConfig) -> None:
        self._config = config
        self.filter = DetachedFragmentFilter(config)

    def reset(self) -> None:
        """Drop all objects."""
        self.filter = DetachedFragmentFilter(self._config)

    def annotate(self, sequence: SequenceState, object_id: int, share: FloatArray) -> None:
        """Keep every component of the annotation."""
        self.filter.annotate(object_id, share)

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.filter.forget(object_id)

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Drop the fragments that have moved away from their object."""
        frame.logits_s4 = self.filter.step(sequence.object_ids, frame.logits_s4, frame.anchor_score_s8, frame.flow_s4)

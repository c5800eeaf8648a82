"""Stage ``detached_fragments``: drop fragments that move away from their object.

A fragment that lies apart from the rest of its object, and was not annotated with it, is followed by optical flow. It
is dropped once it has moved away: a true part that is seen apart behind an occluder moves along with the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, FloatArray
from vos_propagation.ops.components import Cells, part_of, several_components
from vos_propagation.stages.decoder_network import LOGIT_LIMIT

# A piece is dropped when the way that it has gone from the main one, as a share of that one's side, times the frames
# since, is more than the first; more than the second where another object touches it, as the flow of what is seen
# between others is theirs.
PARTED, PARTED_BETWEEN = 2.0, 10.0
# A way shorter than this share tells nothing, however long it took.
LEAST = 0.1
# Nor does it while the piece is less apart than this share: what is seen beside a pole moves as the pole seems to.
APART = 0.4
# A piece smaller than this share of the main one stays: true parts that hang or swing (a pilot below his wing) are
# small, and a small false one costs little.
TOLERATED = 0.15
# For so many frames a piece that is where a dropped one was is dropped at once.
DISOWNED = 12
# A piece is taken as annotated while so much of it comes from there, carried along.
ANNOTATED = 0.8
# Cells of 4 px of the smallest piece that is watched.
SMALLEST = 6
# Other objects touch a piece within so many cells.
NEAR = 2


@dataclass(frozen=True)
class Fragment:
    """A connected component of an object beside its main one.

    Attributes:
        age: frames that it has been apart for.
        way: float (2,), how far it has gone from the main piece in that time, (x, y) cells.
    """

    age: int
    way: AnyArray


@dataclass
class FragmentState:
    """What is known of an object.

    Attributes:
        annotated: uint8 (h, w), how much of a cell comes from the annotation, of 255.
        has_true_fragments: a correction gave the object several components; then none is dropped.
        pieces: those beside the main one, by their number.
        numbers: int32 (h, w), the number of each cell's piece, or 0.
        disowned: uint8 (h, w), for how many frames more what is there is not the object's; None if nothing is.
    """

    annotated: AnyArray
    has_true_fragments: bool = False
    pieces: Mapping[int, Fragment] = field(default_factory=dict)
    numbers: AnyArray | None = None
    disowned: AnyArray | None = None


class DetachedFragmentFilter:
    """Follows the fragments of all objects of a sequence."""

    def __init__(self) -> None:
        self._objects: dict[int, FragmentState] = {}

    def annotate(self, object_id: int, share: FloatArray) -> None:
        """Take an annotation, float32 (h, w) in 0..1: none of its components is a fragment to drop.

        A correction with several components is evidence that the object is seen in parts, which may move apart.
        """
        is_correction = object_id in self._objects
        has_true_fragments = is_correction and len(several_components(share > 0.5, SMALLEST)) > 1
        self._objects[object_id] = FragmentState((255 * share).astype(np.uint8), has_true_fragments)

    def annotated(self, object_id: int) -> AnyArray:
        """Say how much of each cell of an object comes from its annotation, carried along: uint8 (h, w), of 255."""
        return self._objects[object_id].annotated

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self._objects.pop(object_id, None)

    def step(self, object_ids: Sequence[int], logits: Tensor, anchor_score: Tensor, flow: FloatArray) -> Tensor:
        """Lower the logits of fragments that have moved away.

        Args:
            object_ids: one for each row; each was annotated.
            logits: float32 (K, h, w).
            word: float32 (K, h / 2, w / 2), scores by the annotated frames alone.
            flow: float32 (h, w, 2), to where each cell was in the frame before, (x, y) cells.
        Returns:
            float32 (K, h, w), the lowest logit where a piece was dropped.
        """
        masks = ((logits > 0) & (logits >= logits.amax(0))).cpu().numpy()
        past = _PreviousFrame(flow)
        dropped = np.zeros_like(masks)
        for row, object_id in enumerate(object_ids):
            watched = self._objects[object_id]
            watched.annotated = past.within(masks[row], watched.annotated)
            if watched.disowned is not None:
                left = past.nearest(watched.disowned)
                watched.disowned = left - (left > 0) if left.any() else None
            pieces, watched.pieces = watched.pieces, {}
            cells = several_components(masks[row], SMALLEST)
            if len(cells) < 2 or watched.has_true_fragments:
                continue
            others = np.logical_or.reduce(np.delete(masks, row, axis=0), axis=0)
            self._redetect(watched, pieces, cells, others, anchor_score[row].cpu().numpy(), past, dropped[row])
        if not dropped.any():
            return logits
        return logits.masked_fill(torch.from_numpy(dropped).to(logits.device), -LOGIT_LIMIT)

    def _redetect(
        self,
        watched: FragmentState,
        before: Mapping[int, Fragment],
        cells: list[Cells],
        others: AnyArray,
        anchor_score: FloatArray,
        past: _PreviousFrame,
        dropped: AnyArray,
    ) -> None:
        """Watch the pieces of one object, ``cells``, and mark those that have parted in ``dropped``."""
        weights = [float(anchor_score[y // 2, x // 2].clip(0, 1).sum()) for y, x in cells]
        main = cells.pop(int(np.argmax(weights)))
        motion, side = np.median(past.flow[main], axis=0), len(main[0]) ** 0.5
        near = cv2.dilate(others.view(np.uint8), np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8))
        numbers = np.zeros(others.shape, np.int32)
        pieces = {}
        for number, (y, x) in enumerate(cells, start=1):
            if watched.annotated[y, x].mean() > ANNOTATED * 255:
                watched.annotated[y, x] = 255
                continue
            piece = _older(before.get(past.number(watched.numbers, y, x)), motion - np.median(past.flow[y, x], axis=0))
            way = float(np.hypot(*piece.way)) / side
            enough = PARTED_BETWEEN if near[y, x].any() else PARTED
            again = watched.disowned is not None and np.median(watched.disowned[y, x]) > 0
            parted = way > LEAST and way * piece.age > enough and _distance_between(main, (y, x)) > APART * side
            if (again or parted) and len(y) > TOLERATED * len(main[0]):
                dropped[y, x] = True
            else:
                numbers[y, x] = number
                pieces[number] = piece
        watched.pieces, watched.numbers = pieces, numbers
        if dropped.any():
            kept = np.zeros(others.shape, np.uint8) if watched.disowned is None else watched.disowned
            watched.disowned = np.where(dropped, np.uint8(DISOWNED), kept)


class _PreviousFrame:
    """Looks up what was where in the frame before."""

    def __init__(self, flow: FloatArray) -> None:
        self.flow = flow
        height, width = flow.shape[:2]
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        self._where, self._between = cv2.convertMaps(x + flow[..., 0], y + flow[..., 1], cv2.CV_16SC2)

    def within(self, mask: AnyArray, plane: AnyArray) -> AnyArray:
        """Carry a uint8 plane of the frame before to where a mask is now; 0 elsewhere."""
        part = part_of(mask)
        warped = np.zeros(mask.shape, np.uint8)
        if mask[part].size:
            there = cv2.remap(plane, self._where[part], self._between[part], cv2.INTER_LINEAR)
            np.copyto(warped[part], there, where=mask[part])
        return warped

    def nearest(self, plane: AnyArray) -> AnyArray:
        """Carry a uint8 plane of the frame before to this one, without values between; 0 where a cell was outside."""
        return np.asarray(cv2.remap(plane, self._where, self._between, cv2.INTER_NEAREST))

    def number(self, numbers: AnyArray | None, y: AnyArray, x: AnyArray) -> int:
        """Say which number most of some cells had in the frame before."""
        if numbers is None:
            return 0
        height, width = numbers.shape
        where = self.flow[y, x].round().astype(np.int64)
        there = numbers[(y + where[:, 1]).clip(0, height - 1), (x + where[:, 0]).clip(0, width - 1)]
        return int(np.bincount(there).argmax())


def _distance_between(one: Cells, other: Cells) -> float:
    """Say how far two pieces are apart, cells."""
    top, left = (min(int(a.min()), int(b.min())) for a, b in zip(one, other, strict=True))
    bottom, right = (max(int(a.max()), int(b.max())) for a, b in zip(one, other, strict=True))
    rest = np.ones((bottom + 1 - top, right + 1 - left), np.uint8)
    rest[one[0] - top, one[1] - left] = 0
    away = cv2.distanceTransform(rest, cv2.DIST_L2, 3)
    return float(away[other[0] - top, other[1] - left].min())


def _older(piece: Fragment | None, step: AnyArray) -> Fragment:
    """Give a piece as it is a frame later, having gone ``step`` from the main one; a new one for None."""
    return Fragment(1, step) if piece is None else Fragment(piece.age + 1, piece.way + step)


class DetachedFragments(Stage):
    """Changes ``logits_s4``: drops fragments that move away from their object."""

    name = "detached_fragments"
    saved = ("filter",)

    def __init__(self) -> None:
        self.filter = DetachedFragmentFilter()

    def reset(self) -> None:
        """Drop all objects."""
        self.filter = DetachedFragmentFilter()

    def annotate(self, sequence: SequenceState, object_id: int, share: FloatArray) -> None:
        """Take the annotation as what the object is, whatever its fragments."""
        self.filter.annotate(object_id, share)

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self.filter.forget(object_id)

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Watch the fragments of each object."""
        frame.logits_s4 = self.filter.step(sequence.object_ids, frame.logits_s4, frame.anchor_score_s8, frame.flow_s4)

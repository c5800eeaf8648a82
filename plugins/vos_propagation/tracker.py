"""The tracker: features of each frame once, votes for all objects together, a bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos import AnyArray, FloatArray, Frame, LabelMap, Prediction, Runtime, Size, object_ids
from vos_propagation.efficientnet_lite import load_efficientnet_lite0
from vos_propagation.guided_filter import CELL, GuidedFilter
from vos_propagation.head import FusionHead, lead, load_head
from vos_propagation.labels import halved, with_rows, without_row
from vos_propagation.leftovers import leftovers
from vos_propagation.matching import FineVotes, Votes, Workspace, global_votes, local_votes, principal_axes
from vos_propagation.memory import Memory, Remembered, in_blocks
from vos_propagation.motion import backward_flow, carry
from vos_propagation.options import PropagationOptions
from vos_propagation.search import SMALLEST, Search, Verdict
from vos_propagation.target_model import TargetModel
from vos_propagation.tiles import places_of, tiles_before, tiles_near

MULTIPLE = 16
# Small frames are enlarged, by no more than this.
ENLARGED = 4.0
# Cells that a vote reaches beyond an object's last place.
REACH = 3
# The head sees the cells where an object has so much of the votes or of the carried mask, and so many around them.
LIKELY, ROOM = 0.25, 2
# The head sees boxes of a few sizes only: for each new one, kernels are made and kept.
GRAIN = 8
# A call of the head takes as long as so many cells more.
CALL = 400
# Cells are compared in so many directions, those in which the annotated frame's cells differ most.
AXES = 96
# A cell of an annotated frame counts as so much more alike. Others may be wrong, and are alike for being near in time.
TRUST = 1.08
# A cell that an object claims is remembered as nothing where its score by the annotated frames alone is below the
# first, unless that is so for this share of the object: then it has come to look otherwise.
REJECTED, CHANGED = 0.2, 0.4
# The head takes too much where an object and what is around it hardly differ. It is given at most so much of a logit,
# until an object has as many cells as were voted for it; one of fewer cells of 4 px than the second is left as it is.
GIVEN, FEWEST = 0.5, 24
LEARN_EVERY, SEEN_EVERY, SPREAD_EVERY = 2, 5, 8
LOGIT_LIMIT = 8.0
# How sure the head is of a mask's pixels, and the overlap (J) seen with it; docs/benchmarks.md has the table.
CALIBRATION = (
    (0.0, 0.860, 0.930, 0.950, 0.970, 0.985, 1.0),
    (0.0, 0.569, 0.815, 0.872, 0.901, 0.947, 0.970),
)


Box: TypeAlias = tuple[slice, slice]
"""Rows and columns of a part of the grid of cells."""


@dataclass(frozen=True)
class FrameFeatures:
    """What depends on a frame's image alone.

    Attributes:
        cells: (152, h, w), the stride-8 and stride-16 levels, each of unit length, then together too.
        fine: (24, 2 h, 2 w), the stride-4 level, of unit length.
        samples: float32 (D, h * w), the target model's features.
        grey: uint8 (2 h, 2 w), for motion.
        image: uint8 (3, 8 h, 8 w), for edges.
        small: uint8 (3, 2 h, 2 w), likewise.
    """

    cells: Tensor
    fine: Tensor
    samples: Tensor
    grey: AnyArray
    image: Tensor
    small: Tensor


@dataclass
class Anchor:
    """An annotated frame; it stays in memory for as long as one of its objects is tracked.

    Attributes:
        encoding: the frame's features.
        prob: float32 (K + 1, 2 h, 2 w), the annotation; sums to 0 where the frame says nothing.
        object_ids: the objects whose latest annotation this is.
    """

    encoding: FrameFeatures
    prob: Tensor
    object_ids: set[int]


class PropagationTracker:
    """Propagates labels by feature matching, for all objects at once; see docs/trackers/propagation.md."""

    encode_batch = 1

    def __init__(self, options: PropagationOptions, runtime: Runtime) -> None:
        self._device = runtime.torch_device()
        self._dtype = runtime.torch_dtype("bf16" if has_fast_bf16(self._device) else "fp32")
        preset = options.preset()
        self._side, self._radius, self._voters = preset.side, preset.radius, preset.voters
        # Of the frames that vote, a few lie further back and further apart.
        self._spread_context = preset.context // 3
        self._recent_context = preset.context - self._spread_context
        self._network = load_efficientnet_lite0()
        self._network.to(self._device, self._dtype).to(memory_format=torch.channels_last)
        self._head: FusionHead | None = None
        if preset.head:
            self._head = load_head()
            self._head.to(self._device, self._dtype).to(memory_format=torch.channels_last)
        self._workspace = Workspace()
        self._forget_all()

    def _forget_all(self) -> None:
        self._ids: list[int] = []
        self._anchors: list[Anchor] = []
        self._annotated: list[Remembered] = []
        self._recent: deque[Remembered] = deque(maxlen=self._recent_context)
        self._spread: deque[Remembered] = deque(maxlen=self._spread_context)
        self._memory = Memory(0, torch.zeros(1, 1, 4, 1), 1)
        self._search = Search()
        self._target: TargetModel | None = None
        self._axes: Tensor = torch.zeros(0)
        self._prob: Tensor = torch.zeros(0)
        self._last: FrameFeatures | None = None
        self._steps = 0

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Extract the frames' features."""
        return [self._encode(frame) for frame in frames]

    def _encode(self, frame: Frame) -> FrameFeatures:
        size = working_size(frame.size, self._side)
        image = cv2.resize(frame.image, size[::-1], interpolation=_way(frame.size[0] / size[0]))
        small = cv2.resize(image, (size[1] // 4, size[0] // 4), interpolation=cv2.INTER_AREA)
        pixels, colours = (torch.from_numpy(rgb).to(self._device).permute(2, 0, 1) for rgb in (image, small))
        features = self._network(pixels[None].to(self._dtype))
        deep = _twice(F.normalize(features[16].float(), dim=1))
        both = torch.cat([F.normalize(features[8].float(), dim=1), F.normalize(deep, dim=1)], dim=1)
        fine = F.normalize(features[4].float(), dim=1)
        ones = both.new_full((1, *both.shape[2:]), 0.3)
        samples = torch.cat([both[0], 0.7 * F.avg_pool2d(fine, 2)[0], ones]).flatten(1)
        cells = (both[0] * 0.5**0.5).to(self._dtype)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        return FrameFeatures(cells, fine[0].to(self._dtype), samples, grey, pixels, colours)

    @torch.inference_mode()
    def start(self, frame: Frame, label_map: LabelMap, encoding: FrameFeatures) -> None:
        """Begin a new sequence; everything before it is forgotten."""
        self._forget_all()
        self._last = encoding
        height, width = encoding.grey.shape
        self._prob = torch.zeros(1, height, width, device=self._device)
        self._prob[0] = 1
        self._axes = principal_axes(encoding.cells, AXES)
        self._take(encoding, label_map)

    @torch.inference_mode()
    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add the label map's new ids as objects, and correct those already known."""
        assert self._last is not None, "the host starts before it annotates"
        self._take(self._last, label_map)

    @torch.inference_mode()
    def forget(self, object_id: int) -> None:
        """Stop tracking an object; where it was is background."""
        row = self._ids.index(object_id) + 1
        self._ids.remove(object_id)
        self._search.forget(object_id)
        self._prob = without_row(self._prob, row)
        for anchor in self._anchors:
            anchor.object_ids.discard(object_id)
            anchor.prob = without_row(anchor.prob, row)
        self._renew(forgotten=row)

    @torch.inference_mode()
    def step(self, frame: Frame, encoding: FrameFeatures) -> Prediction:
        """Segment the next frame."""
        assert self._last is not None, "the host starts before it steps"
        assert self._target is not None
        if not self._ids:
            self._last = encoding
            return Prediction([], np.zeros((0, *encoding.image.shape[1:]), np.float32))
        height, width = encoding.cells.shape[1:]
        flow = backward_flow(encoding.grey, self._last.grey)
        carried = carry(self._prob[1:], flow)
        carried_coarse = halved(carried)
        score, word = (plane.view(-1, height, width)[1:] for plane in self._target.scores(encoding.samples))
        support = torch.maximum(halved(self._prob[1:]), carried_coarse)
        keys = self._keys(encoding)
        all_votes, first_votes = self._vote(keys, support)
        votes, similarity = all_votes.labels, all_votes.similarity
        before = votes.clone()
        verdict = self._search.step(self._ids, encoding.cells, votes, score, similarity)
        carried[verdict.gone], carried_coarse[verdict.gone] = 0, 0
        if self._head is None:
            labels = _twice(votes[None])[0]
            logits = LOGIT_LIMIT * (labels[1:] - _best_other(labels)[1:])
            fine = logits
        else:
            changed = (votes != before).flatten(1).any(1)
            if changed.any():
                fine = torch.where(changed[:, None, None], _twice(votes[None])[0], all_votes.fine)
                all_votes = replace(all_votes, fine=fine)
            boxes = _boxes(torch.maximum(votes[1:], carried_coarse) > LIKELY)
            logits = self._fuse(encoding, all_votes, first_votes, score, carried, carried_coarse, boxes)
            logits = _without_leftovers(_as_many_as_voted(logits, all_votes.fine[1:]), score, flow)
            fine = _sharpen(logits, GuidedFilter(encoding.image, encoding.small), boxes)
            labels = _share(torch.sigmoid(logits))
        self._keep(encoding, keys, labels, score, word, verdict)
        self._last = encoding
        sure, present = self._confidence(logits)
        scores = np.interp(sure.cpu().numpy(), *CALIBRATION)
        return Prediction(self._ids, fine.cpu().numpy(), scores, present.cpu().numpy())

    def _remembered(self) -> list[Remembered]:
        """List the frames that vote, the annotated ones first."""
        return [*self._annotated, *self._recent, *self._spread]

    def _put(self, cells: Tensor, labels: Tensor) -> Remembered:
        return self._memory.put(cells, labels, self._remembered())

    def _keys(self, encoding: FrameFeatures) -> Tensor:
        """Give (h / 2, w / 2, 4, AXES), what a frame's cells are compared by, in blocks of four."""
        keys = encoding.cells.flatten(1).T @ self._axes.T
        return in_blocks(keys.view(*encoding.cells.shape[1:], AXES))

    def _vote(self, keys: Tensor, support: Tensor) -> tuple[FineVotes, Votes]:
        """Let all of the memory vote near the objects, and the annotated frames alone."""
        height, width = support.shape[1:]
        nobody = support.new_zeros(len(self._ids) + 1, height, width)
        nobody[0] = 1
        tiles = tiles_near(support, REACH)
        if not len(tiles.rows):
            none, fine = support.new_zeros(height, width), _twice(nobody[None])[0]
            return FineVotes(nobody, none, fine), Votes(nobody.clone(), none)
        now = places_of(support)
        asked = [(frame, tiles_before(tiles, now, frame.places)) for frame in self._remembered()]
        anchors = len(self._anchors)
        every, first = local_votes(
            keys, self._memory, asked, tiles, self._radius, self._voters, anchors, self._workspace
        )
        for labels in (every.labels, every.fine, first.labels):
            labels[0] += (1 - labels.sum(0)).clamp_min(0)
        return every, first

    def _fuse(
        self,
        encoding: FrameFeatures,
        all_votes: FineVotes,
        first_votes: Votes,
        score: Tensor,
        carried: Tensor,
        carried_coarse: Tensor,
        boxes: Sequence[Box | None],
    ) -> Tensor:
        """Give float32 (K, 2 h, 2 w) logits, by the head where an object may be."""
        assert self._head is not None
        mine, first, similarity = all_votes.labels[1:], first_votes.labels[1:], all_votes.similarity
        cues = [carried_coarse, _best_other(carried_coarse), score, _best_other(score)]
        cues += [similarity.expand_as(mine), (score.amax(0) - similarity).expand_as(mine)]
        cues += [first, _best_other(first), first_votes.similarity.expand_as(mine), mine, _best_other(mine)]
        coarse_cues = torch.stack(cues, dim=1).to(self._dtype)
        fine_cues = torch.stack([carried, _best_other(carried)], dim=1).to(self._dtype)
        own = all_votes.fine[1:]
        margin = lead(own, _best_other(own))[:, None].to(self._dtype)
        return self._apply_head(encoding, coarse_cues, fine_cues, margin, boxes)

    def _apply_head(
        self, encoding: FrameFeatures, coarse: Tensor, fine: Tensor, margin: Tensor, boxes: Sequence[Box | None]
    ) -> Tensor:
        """Run the head in each object's box: float32 (K, 2 h, 2 w), the lowest logit outside the boxes."""
        assert self._head is not None
        logits = fine.new_full((len(fine), *fine.shape[2:]), -LOGIT_LIMIT, dtype=torch.float32)
        coarse_image, fine_image = self._head.look(encoding.cells[None], encoding.fine[None])
        for batch in _batches(boxes, (coarse.shape[2], coarse.shape[3])):
            small = [(k, y, x) for k, (y, x) in batch]
            large = [(k, _doubled(y), _doubled(x)) for k, y, x in small]
            part = self._head(
                torch.stack([coarse[k, :, y, x] for k, y, x in small]),
                torch.stack([fine[k, :, y, x] for k, y, x in large]),
                torch.stack([coarse_image[0, :, y, x] for _, y, x in small]),
                torch.stack([fine_image[0, :, y, x] for _, y, x in large]),
                torch.stack([margin[k, :, y, x] for k, y, x in large]),
            )
            for (k, top, left), seen in zip(large, part.clamp_(-LOGIT_LIMIT, LOGIT_LIMIT), strict=True):
                y, x = (_doubled(span) for span in boxes[k] or ())
                logits[k, y, x] = seen[_within(y, top), _within(x, left)]
        return logits

    def _keep(
        self, encoding: FrameFeatures, keys: Tensor, prob: Tensor, score: Tensor, word: Tensor, verdict: Verdict
    ) -> None:
        """Remember the frame with its labels (K + 1, 2 h, 2 w), and refresh the target models."""
        assert self._target is not None
        labels = halved(prob)
        silent = torch.zeros_like(labels[0], dtype=torch.bool) if verdict.unsure is None else verdict.unsure
        silent = silent | contradicted(labels[1:] * ~silent, word)
        labels = labels * ~silent
        spoken = prob * ~silent.repeat_interleave(2, 0).repeat_interleave(2, 1)
        self._recent.append(self._put(keys, spoken))
        self._prob = prob
        self._steps += 1
        if self._steps % SPREAD_EVERY == 0 and self._spread_context:
            self._spread.append(self._recent[0])
        if self._steps % LEARN_EVERY == 0:
            self._target.learn(encoding.samples, labels.flatten(1), annotated=False)
        if self._steps % SEEN_EVERY == 0:
            self._search.see(self._ids, encoding.cells, labels[1:], score)

    def _confidence(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Say how sure each row is, and whether its object is in the frame."""
        prob = torch.sigmoid(logits)
        inside = prob > 0.5
        area = inside.sum((1, 2))
        sure = (prob * inside).sum((1, 2)) / prob.sum((1, 2)).clamp_min(1e-6)
        present = area >= 4 * SMALLEST
        return torch.where(present, sure, torch.zeros_like(sure)), present

    def _take(self, encoding: FrameFeatures, label_map: LabelMap) -> None:
        """Learn the objects of an annotation of the frame that ``encoding`` is of."""
        given = object_ids(label_map)
        new = [i for i in given if i not in self._ids]
        self._ids += new
        self._prob = with_rows(self._prob, len(new))
        height, width = encoding.grey.shape
        prob = torch.zeros_like(self._prob)
        for object_id in given:
            mask = (label_map == object_id).astype(np.float32)
            small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
            prob[self._ids.index(object_id) + 1] = torch.from_numpy(small).to(self._device)
        corrected = torch.tensor([i in given for i in self._ids], dtype=torch.bool, device=self._device)
        prob[1:] += self._prob[1:] * (1 - prob.sum(0)) * ~corrected[:, None, None]
        prob[0] = (1 - prob[1:].sum(0)).clamp_min(0)
        self._prob = prob
        for anchor in self._anchors:
            anchor.object_ids -= set(given)
            anchor.prob = with_rows(anchor.prob, len(new))
            if new:
                self._silence(anchor, encoding, prob[-len(new) :])
        self._recent.clear()
        self._spread.clear()
        coarse = halved(prob)
        for object_id in given:
            self._search.annotate(object_id, encoding.cells, coarse[self._ids.index(object_id) + 1])
        self._anchors.append(Anchor(encoding, prob, set(given)))
        self._renew()
        self._recent.append(self._put(TRUST * self._keys(encoding), prob))

    def _silence(self, anchor: Anchor, encoding: FrameFeatures, new: Tensor) -> None:
        """Take back an earlier frame's word 'background' where it looks like an object that came later."""
        values = halved(new.sum(0, keepdim=True)).flatten(1)
        alike = global_votes(anchor.encoding.cells, encoding.cells.flatten(1), values, self._voters)
        anchor.prob[0] *= (F.interpolate(alike[None], scale_factor=2)[0, 0] < 0.3).to(anchor.prob.dtype)

    def _renew(self, forgotten: int | None = None) -> None:
        """Drop anchors without objects, and fill a new memory and new target models with what the others show.

        Args:
            forgotten: a row of labels that the frames in the memory still have and that shall go.
        """
        self._anchors = [anchor for anchor in self._anchors if anchor.object_ids]
        assert self._last is not None
        count = len(self._ids) + 1
        slots = len(self._anchors) + self._recent_context + self._spread_context + 1
        old, self._memory = self._memory, Memory(slots, self._keys(self._last), count)
        self._target = TargetModel(self._last.samples, count, decay=0.9, rate=0.15, small=20)
        self._annotated.clear()
        for frames in (self._recent, self._spread):
            before = [*frames]
            frames.clear()
            for past in before:
                labels = old.labels_of(past)
                labels = labels if forgotten is None else without_row(labels, forgotten)
                frames.append(self._put(old.cells_of(past), labels))
        for anchor in self._anchors:
            self._annotated.append(self._put(TRUST * self._keys(anchor.encoding), anchor.prob))
            self._target.learn(anchor.encoding.samples, halved(anchor.prob).flatten(1), annotated=True)


def contradicted(labels: Tensor, word: Tensor) -> Tensor:
    """Find the cells that an object claims against the annotated frames' word.

    Args:
        labels: float32 (K, h, w), each object's.
        word: float32 (K, h, w), the target model's scores by the annotated frames alone.
    Returns:
        bool (h, w).
    """
    claimed = labels > 0.3
    wrong = claimed & (word < REJECTED)
    changed = wrong.sum((1, 2)) > CHANGED * claimed.sum((1, 2))
    return (wrong & ~changed[:, None, None]).any(0)


def _as_many_as_voted(logits: Tensor, votes: Tensor) -> Tensor:
    """Raise each object's logits (K, h, w), by at most ``GIVEN``, until it has as many cells as its votes (K, h, w)."""
    counts = (votes > 0.5).flatten(1).sum(1).tolist()
    given = [
        _missing(row, count) if count >= FEWEST else row.new_zeros(())
        for row, count in zip(logits, counts, strict=True)
    ]
    return logits + torch.stack(given)[:, None, None]


def _missing(logits: Tensor, count: int) -> Tensor:
    """Say how much the ``count``-th highest of the logits is below 0, from 0 to ``GIVEN``."""
    near = logits[logits > -GIVEN]
    if len(near) < count:
        return logits.new_tensor(GIVEN)
    return (-near.kthvalue(len(near) - count + 1).values).clamp_min(0)


def _without_leftovers(logits: Tensor, score: Tensor, flow: FloatArray) -> Tensor:
    """Take from the logits (K, 2 h, 2 w) what the objects uncovered and left behind; ``score`` is (K, h, w)."""
    masks = (logits > 0).cpu().numpy()
    found = leftovers(masks, score.cpu().numpy(), flow)
    if not found.any():
        return logits
    return logits.masked_fill(torch.from_numpy(found).to(logits.device), -LOGIT_LIMIT)


def _sharpen(logits: Tensor, guided: GuidedFilter, boxes: Sequence[Box | None]) -> Tensor:
    """Let each object's logits (K, 2 h, 2 w) follow the image's edges: float32 (K, 8 h, 8 w)."""
    count, height, width = logits.shape
    fine = logits.new_full((count, CELL * height, CELL * width), -LOGIT_LIMIT)
    for k, box in enumerate(boxes):
        if box is not None:
            rows, columns = (_doubled(part) for part in box)
            y, x = (slice(CELL * part.start, CELL * part.stop) for part in (rows, columns))
            fine[k, y, x] = guided(logits[k, rows, columns], rows, columns)
    return fine


def working_size(size: Size, side: int) -> Size:
    """Give the size that a frame is worked on at: short side about ``side``, multiples of 16.

    Args:
        size: (H, W) of the frame; a small one is enlarged, at most ``ENLARGED`` times.
        side: the short side wanted, pixels.
    Returns:
        (H, W), at least 16 each.
    """
    scale = min(ENLARGED, side / min(size))
    height, width = (max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE) for length in size)
    return height, width


def _way(scale: float) -> int:
    """Give OpenCV's way to make an image so many times smaller; where hardly anything changes, that which is fast."""
    if scale < 1:
        return cv2.INTER_CUBIC
    return cv2.INTER_LINEAR if scale < 1.25 else cv2.INTER_AREA


def has_fast_bf16(device: torch.device) -> bool:
    """Tell whether bfloat16 is the fast choice: on CUDA, and on CPUs with its instructions."""
    if device.type == "cpu":
        capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(capability and capability())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def _twice(planes: Tensor) -> Tensor:
    return F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)


def _best_other(planes: Tensor) -> Tensor:
    """For each row of (K, h, w), the highest value of the other rows; 0 where there is none."""
    if len(planes) < 2:
        return torch.zeros_like(planes)
    best = torch.empty_like(planes)
    # Of each row first the highest of those after it, then that and the highest of those before it.
    best[-2] = planes[-1]
    for row in range(len(planes) - 3, -1, -1):
        torch.maximum(best[row + 1], planes[row + 1], out=best[row])
    before = planes[0]
    for row in range(1, len(planes) - 1):
        best[row] = torch.maximum(best[row], before)
        before = torch.maximum(before, planes[row])
    best[-1] = before
    return best


def _share(prob: Tensor) -> Tensor:
    """Make labels (K + 1, h, w) that sum to 1 of each object's own probability (K, h, w)."""
    prob = prob / prob.sum(0).clamp_min(1)
    return torch.cat([(1 - prob.sum(0))[None].clamp_min(0), prob])


def _boxes(likely: Tensor) -> list[Box | None]:
    """Box each row's True cells, with ``ROOM`` cells around; None for an empty row. One copy to the host."""
    rows, columns = likely.any(2).cpu().numpy(), likely.any(1).cpu().numpy()
    return [(_span(row), _span(column)) if row.any() else None for row, column in zip(rows, columns, strict=True)]


def _batches(boxes: Sequence[Box | None], shape: Size) -> list[list[tuple[int, Box]]]:
    """Put boxes whose sizes differ little together, each with its row and grown to the largest of them.

    The less calls of the head the better: one takes as long as ``CALL`` cells more.
    """
    batches: list[tuple[Size, list[int]]] = []
    for row, box in enumerate(boxes):
        if box is None:
            continue
        size, rows = (box[0].stop - box[0].start, box[1].stop - box[1].start), [row]
        while batches:
            further = [_work(_both(size, s), len(rows) + len(r)) - _work(s, len(r)) for s, r in batches]
            best = min(range(len(batches)), key=further.__getitem__)
            if further[best] > _work(size, len(rows)):
                break
            other, before = batches.pop(best)
            size, rows = _both(size, other), before + rows
        batches.append((size, rows))
    return [[(row, _grown(boxes[row], size, shape)) for row in rows] for size, rows in batches]


def _work(size: Size, count: int) -> int:
    """Say how long a call of the head with so many boxes of a size takes, in cells."""
    return CALL + count * size[0] * size[1]


def _both(one: Size, other: Size) -> Size:
    return max(one[0], other[0]), max(one[1], other[1])


def _grown(box: Box | None, size: Size, shape: Size) -> Box:
    """Give a box of this size, around ``box``, in the grid of this shape."""
    assert box is not None
    starts = [
        min(max(0, part.start - (length - (part.stop - part.start)) // 2), limit - length)
        for part, length, limit in zip(box, size, shape, strict=True)
    ]
    return slice(starts[0], starts[0] + size[0]), slice(starts[1], starts[1] + size[1])


def _within(part: slice, whole: slice) -> slice:
    """Say which part of ``whole`` this is."""
    return slice(part.start - whole.start, part.stop - whole.start)


def _doubled(part: slice) -> slice:
    return slice(2 * part.start, 2 * part.stop)


def _span(likely: AnyArray) -> slice:
    """Span the True cells of a line, ``ROOM`` cells around, and more up to a multiple of ``GRAIN`` where it fits."""
    at = np.flatnonzero(likely)
    first, last = int(at[0]) - ROOM, int(at[-1]) + ROOM
    length = min(-(-(last - first + 1) // GRAIN) * GRAIN, len(likely))
    first = min(max(first - (length - (last - first + 1)) // 2, 0), len(likely) - length)
    return slice(first, first + length)

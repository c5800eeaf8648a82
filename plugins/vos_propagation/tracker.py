"""The tracker: features of each frame once, votes for all objects together, a bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import Frame, LabelMap, Prediction, Runtime, object_ids
from vos_propagation.boxes import Box, batches_of, boxes_around, doubled, within
from vos_propagation.confidence import confidence
from vos_propagation.cores import on_threads, shares_of_threads
from vos_propagation.features import Encoder, FrameFeatures, has_fast_bf16, working_size
from vos_propagation.guided_filter import CELL, sharpened
from vos_propagation.head import LOGIT_LIMIT, FusionHead, lead, load_head
from vos_propagation.labels import shown, with_rows, without_row
from vos_propagation.leftovers import without_leftovers
from vos_propagation.matching import FineVotes, Votes, global_votes, local_votes, principal_axes
from vos_propagation.memory import Memory, Remembered, in_blocks
from vos_propagation.motion import carry, motion_since
from vos_propagation.options import PropagationOptions
from vos_propagation.partings import Partings
from vos_propagation.planes import best_other, halved, shares_of, stacked, twice
from vos_propagation.scale import side_for
from vos_propagation.search import Search, Verdict
from vos_propagation.sheets import Sheets
from vos_propagation.shrinking import as_many_as_voted
from vos_propagation.target_model import TargetModel
from vos_propagation.tiles import places_of, tiles_before, tiles_near
from vos_propagation.twins import Twins, chances_of, find_twins, settled, tell_apart, with_twins
from vos_propagation.workspace import Workspace

# Cells that a vote reaches beyond an object's last place.
REACH = 5
# The head sees the cells where an object has so much of the votes or of the carried mask, and some around them.
LIKELY = 0.25
# Cells are compared in so many directions, those in which the annotated frame's cells differ most.
AXES = 96
# A cell of an annotated frame counts as so much more alike. Others may be wrong, and are alike for being near in time.
TRUST = 1.08
# A cell that an object claims is remembered as nothing where its score by the annotated frames alone is below the
# first, unless that is so for this share of the object: then it has come to look otherwise.
REJECTED, CHANGED = 0.2, 0.4
LEARN_EVERY, SEEN_EVERY, SPREAD_EVERY = 2, 5, 8


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
        self._radius, self._voters = preset.radius, preset.voters
        # Of the frames that vote, a few lie further back and further apart.
        self._spread_context = preset.context // 3
        self._recent_context = preset.context - self._spread_context
        self._encoder = Encoder(self._device, self._dtype, preset.companion)
        self._preset_side, self._fits = preset.side, preset.fits
        self._head: FusionHead | None = None
        if preset.head:
            self._head = load_head()
            self._head.to(self._device, self._dtype).to(memory_format=torch.channels_last)
        self._workspace = Workspace()
        self._sheets = Sheets(-LOGIT_LIMIT)
        threads = torch.get_num_threads()
        self._encoding_threads, self._tracking_threads = shares_of_threads(threads)
        # One core alone, or a GPU, would do the two one after the other all the same.
        if self._device.type == "cpu" and threads > 1:
            self.encode_ahead = self._encode_ahead
        self._forget_all()

    def _forget_all(self) -> None:
        self._side = self._preset_side
        self._ids: list[int] = []
        self._anchors: list[Anchor] = []
        self._annotated: list[Remembered] = []
        self._recent: deque[Remembered] = deque(maxlen=self._recent_context)
        self._spread: deque[Remembered] = deque(maxlen=self._spread_context)
        self._memory = Memory(0, torch.zeros(1, 1, 4, 1), 1)
        self._search = Search()
        self._partings = Partings()
        self._twins: list[Twins] = []
        self._target: TargetModel | None = None
        self._axes: Tensor = torch.zeros(0)
        self._prob: Tensor = torch.zeros(0)
        self._last: FrameFeatures | None = None
        self._steps = 0

    @torch.inference_mode()
    def encode(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Extract the frames' features."""
        return [self._see(frame) for frame in frames]

    @torch.inference_mode()
    def _encode_ahead(self, frames: Sequence[Frame]) -> list[FrameFeatures]:
        """Extract the frames' features on some of the cores, while ``step`` has the others."""
        with on_threads(self._encoding_threads):
            return [replace(self._see(frame), ahead=True) for frame in frames]

    def _see(self, frame: Frame) -> FrameFeatures:
        features = self._encoder(frame, working_size(frame.size, self._side))
        if self._head is None:
            return features
        return replace(features, looks=self._head.look(features.cells[None], features.fine[None]))

    @torch.inference_mode()
    def start(self, frame: Frame, label_map: LabelMap, encoding: FrameFeatures) -> None:
        """Begin a new sequence; everything before it is forgotten."""
        self._forget_all()
        if self._fits:
            self._side = side_for(self._preset_side, label_map)
        encoding = self._at_this_size(frame, encoding)
        self._last = encoding
        height, width = encoding.grey.shape
        self._prob = torch.zeros(1, height, width, device=self._device)
        self._prob[0] = 1
        self._axes = principal_axes(encoding.compared, AXES)
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
        self._partings.forget(object_id)
        self._prob = without_row(self._prob, row)
        for anchor in self._anchors:
            anchor.object_ids.discard(object_id)
            anchor.prob = without_row(anchor.prob, row)
        self._renew(forgotten=row)

    @torch.inference_mode()
    def step(self, frame: Frame, encoding: FrameFeatures) -> Prediction:
        """Segment the next frame."""
        encoding = self._at_this_size(frame, encoding)
        with on_threads(self._tracking_threads if encoding.ahead else None):
            return self._step(encoding)

    def _at_this_size(self, frame: Frame, encoding: FrameFeatures) -> FrameFeatures:
        """Give a frame's features again if they were made before the objects were known, for another size."""
        if encoding.size == working_size(frame.size, self._side):
            return encoding
        return self._encode_ahead([frame])[0] if encoding.ahead else self._see(frame)

    def _step(self, encoding: FrameFeatures) -> Prediction:
        assert self._last is not None, "the host starts before it steps"
        assert self._target is not None
        if not self._ids:
            self._last = encoding
            return Prediction([], np.zeros((0, *encoding.grey.shape), np.float32))
        height, width = encoding.cells.shape[1:]
        flow = motion_since(self._last.grey, encoding.grey, encoding.motion).flow
        carried = carry(self._prob[1:], flow)
        carried_coarse = halved(carried)
        own_score, word = (plane.view(-1, height, width)[1:] for plane in self._target.scores(encoding.samples))
        score, word = with_twins(own_score, self._twins), with_twins(word, self._twins)
        support = torch.maximum(halved(self._prob[1:]), carried_coarse)
        keys = self._keys(encoding)
        all_votes, first_votes = self._vote(keys, support)
        if self._twins:
            chances = chances_of(carried)
            tell_apart(all_votes.fine[1:], chances, self._twins)
            chances = halved(chances)
            for coarse in (all_votes, first_votes):
                tell_apart(coarse.labels[1:], chances, self._twins)
        votes, similarity = all_votes.labels, all_votes.similarity
        before = votes.clone()
        verdict = self._search.step(self._ids, encoding.cells, votes, score, similarity, self._twins)
        carried[verdict.gone], carried_coarse[verdict.gone] = 0, 0
        if self._head is None:
            labels = twice(votes[None])[0]
            logits = LOGIT_LIMIT * (labels[1:] - best_other(labels)[1:])
            large = logits.cpu().numpy()
        else:
            changed = (votes != before).flatten(1).any(1)
            if changed.any():
                fine = torch.where(changed[:, None, None], twice(votes[None])[0], all_votes.fine)
                all_votes = replace(all_votes, fine=fine)
            boxes = boxes_around(torch.maximum(votes[1:], carried_coarse) > LIKELY)
            logits = self._fuse(encoding, all_votes, first_votes, own_score, carried, carried_coarse, boxes)
            logits = without_leftovers(as_many_as_voted(logits, all_votes.fine[1:]), score, flow)
            logits = self._partings.step(self._ids, logits, word, flow)
            if self._twins:
                usual = [4 * self._search.states[i].area for i in self._ids]
                annotated = [self._partings.annotated(i) for i in self._ids]
                logits = settled(logits, carried, usual, annotated, self._twins)
            sheet = self._sheets.take((len(logits), CELL * logits.shape[1], CELL * logits.shape[2]), logits)
            sharpened(logits, encoding.edges, boxes, sheet)
            large = sheet.give()
            labels = shares_of(torch.sigmoid(logits))
        self._keep(encoding, keys, labels, score, word, verdict)
        self._last = encoding
        return Prediction(self._ids, large, *confidence(logits))

    def _remembered(self) -> list[Remembered]:
        """List the frames that vote, the annotated ones first."""
        return [*self._annotated, *self._recent, *self._spread]

    def _put(self, cells: Tensor, labels: Tensor) -> Remembered:
        return self._memory.put(cells, labels, self._remembered())

    def _keys(self, encoding: FrameFeatures) -> Tensor:
        """Give (h / 2, w / 2, 4, AXES), what a frame's cells are compared by, in blocks of four."""
        keys = encoding.compared.flatten(1).T @ self._axes.T
        return in_blocks(keys.view(*encoding.compared.shape[1:], AXES))

    def _vote(self, keys: Tensor, support: Tensor) -> tuple[FineVotes, Votes]:
        """Let all of the memory vote near the objects, and the annotated frames alone."""
        height, width = support.shape[1:]
        nobody = support.new_zeros(len(self._ids) + 1, height, width)
        nobody[0] = 1
        tiles = tiles_near(support, REACH)
        if not len(tiles.rows):
            none, fine = support.new_zeros(height, width), twice(nobody[None])[0]
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
        cues = [carried_coarse, best_other(carried_coarse), score, best_other(score)]
        cues += [similarity.expand_as(mine), (score.amax(0) - similarity).expand_as(mine)]
        cues += [first, best_other(first), first_votes.similarity.expand_as(mine), mine, best_other(mine)]
        coarse_cues = torch.stack(cues, dim=1).to(self._dtype)
        fine_cues = torch.stack([carried, best_other(carried)], dim=1).to(self._dtype)
        own = all_votes.fine[1:]
        margin = lead(own, best_other(own))[:, None].to(self._dtype)
        return self._apply_head(encoding, coarse_cues, fine_cues, margin, boxes)

    def _apply_head(
        self, encoding: FrameFeatures, coarse: Tensor, fine: Tensor, margin: Tensor, boxes: Sequence[Box | None]
    ) -> Tensor:
        """Run the head in each object's box: float32 (K, 2 h, 2 w), the lowest logit outside the boxes."""
        assert self._head is not None
        logits = fine.new_full((len(fine), *fine.shape[2:]), -LOGIT_LIMIT, dtype=torch.float32)
        assert encoding.looks is not None
        coarse_image, fine_image = encoding.looks
        for batch in batches_of(boxes, (coarse.shape[2], coarse.shape[3])):
            small = [(k, y, x) for k, _, (y, x) in batch]
            large = [(k, doubled(y), doubled(x)) for k, y, x in small]
            parts = self._head(
                stacked(coarse[k, :, y, x] for k, y, x in small),
                stacked(fine[k, :, y, x] for k, y, x in large),
                stacked(coarse_image[0, :, y, x] for _, y, x in small),
                stacked(fine_image[0, :, y, x] for _, y, x in large),
                stacked(margin[k, :, y, x] for k, y, x in large),
            )
            for (k, own, seen), part in zip(batch, parts.clamp_(-LOGIT_LIMIT, LOGIT_LIMIT), strict=True):
                y, x = (doubled(span) for span in own)
                top, left = (doubled(span) for span in seen)
                logits[k, y, x] = part[within(y, top), within(x, left)]
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
            together = with_twins(labels[1:], self._twins)
            self._search.see(self._ids, encoding.cells, labels[1:], together, score)

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
            self._partings.annotate(object_id, small)
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
        self._anchors.append(Anchor(encoding, prob, set(given)))
        self._renew()
        coarse = halved(prob)[1:]
        together = with_twins(coarse, self._twins)
        for row in (self._ids.index(object_id) for object_id in given):
            self._search.annotate(self._ids[row], encoding.cells, coarse[row], together[row])
        self._recent.append(self._put(TRUST * self._keys(encoding), prob))

    def _silence(self, anchor: Anchor, encoding: FrameFeatures, new: Tensor) -> None:
        """Take back an earlier frame's word 'background' where it looks like an object that came later."""
        values = halved(new.sum(0, keepdim=True)).flatten(1)
        alike = global_votes(anchor.encoding.compared, encoding.compared.flatten(1), values, self._voters)
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
        self._twins = find_twins([self._look_of(object_id) for object_id in self._ids])

    def _look_of(self, object_id: int) -> Tensor:
        """Give an object's cells where it was annotated last, (N, C)."""
        anchor = next(anchor for anchor in self._anchors if object_id in anchor.object_ids)
        share = halved(anchor.prob)[self._ids.index(object_id) + 1].flatten()
        return anchor.encoding.compared.flatten(1)[:, shown(share)].T


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

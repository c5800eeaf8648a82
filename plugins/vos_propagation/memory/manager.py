"""The memory of a sequence: annotated frames for good, a few recent and spread ones, and the target model."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vos_propagation.backbone.features import FrameFeatures
from vos_propagation.config import MemoryConfig
from vos_propagation.memory.key_value_store import KeyValueMemoryStore, MemoryFrame, in_blocks
from vos_propagation.memory.label_votes import global_votes, principal_axes
from vos_propagation.memory.labels import add_rows, drop_row, representative_cells
from vos_propagation.memory.target_model import TargetModel
from vos_propagation.ops.resampling import downsample2x


@dataclass
class Anchor:
    """An annotated frame; it stays in memory for as long as one of its objects is tracked.

    Attributes:
        features: the frame's.
        prob: float32 (K + 1, h4, w4), the annotation; sums to 0 where the frame says nothing.
        object_ids: the objects annotated in it.
    """

    features: FrameFeatures
    prob: Tensor
    object_ids: set[int]


class MemoryManager:
    """Decides which frames are remembered; nothing in it grows with the length of the video.

    Attributes:
        anchors: the annotated frames.
        store: the keys and labels of the memory frames.
        target_model: scores of each cell, learnt from the memory frames.
    """

    def __init__(self, config: MemoryConfig, features: FrameFeatures) -> None:
        """Begin a sequence.

        Args:
            config: what is kept, and how often.
            features: of the first annotated frame.
        """
        self._config = config
        self.anchors: list[Anchor] = []
        self._annotated: list[MemoryFrame] = []
        context = config.context
        self.spread: deque[MemoryFrame] = deque(maxlen=context // 3)
        self.recent: deque[MemoryFrame] = deque(maxlen=context - context // 3)
        self._axes = principal_axes(features.match_keys, config.match_dimensions)
        self.store = KeyValueMemoryStore(0, torch.zeros(1, 1, 4, 1), 1)
        self.target_model: TargetModel
        self._steps = 0

    def frames(self) -> list[MemoryFrame]:
        """List the frames that vote, the annotated ones first."""
        return [*self._annotated, *self.recent, *self.spread]

    def match_keys(self, features: FrameFeatures) -> Tensor:
        """Project a frame's features to what cells are compared by: (h8 / 2, w8 / 2, 4, D), in blocks of 2x2."""
        keys = features.match_keys.flatten(1).T @ self._axes.T
        return in_blocks(keys.view(*features.match_keys.shape[1:], len(self._axes)))

    def add_annotation(self, features: FrameFeatures, prob: Tensor, annotated: set[int], new: int) -> None:
        """Keep an annotated frame beside earlier ones of its objects; what was tracked since is dropped.

        An earlier annotation is true of its own frame, and shows parts that the latest one may not.

        Args:
            features: the frame's.
            prob: float32 (K + 1, h4, w4), the labels of the frame.
            annotated: ids of the objects annotated now.
            new: how many of them, the last rows of ``prob``, were not known before.
        """
        for anchor in self.anchors:
            anchor.prob = add_rows(anchor.prob, new)
            if new:
                self._unlearn_background(anchor, features, prob[-new:])
        self.recent.clear()
        self.spread.clear()
        self.anchors.append(Anchor(features, prob, annotated))
        for object_id in annotated:
            self._limit_anchors(object_id)
        self._rebuild(features, len(prob))
        self.recent.append(self._store_trusted(features, prob))

    def forget(self, object_id: int, row: int, features: FrameFeatures) -> None:
        """Drop an object, whose labels are in a row from 1; where it was is background."""
        for anchor in self.anchors:
            anchor.object_ids.discard(object_id)
            anchor.prob = drop_row(anchor.prob, row)
        labels = self.store.labels - 1
        self._rebuild(features, labels, forgotten=row)

    def update(self, features: FrameFeatures, keys: Tensor, prob: Tensor, ignore_mask: Tensor) -> Tensor:
        """Remember a tracked frame, and refresh the target model every few frames.

        Args:
            features: the frame's.
            keys: from ``match_keys``.
            prob: float32 (K + 1, h4, w4), its labels.
            ignore_mask: bool (h8, w8), cells that are remembered without a label.
        Returns:
            float32 (K + 1, h8, w8), what was learnt; 0 where nothing was.
        """
        labels = downsample2x(prob) * ~ignore_mask
        fine_ignore = ignore_mask.repeat_interleave(2, 0).repeat_interleave(2, 1)
        self.recent.append(self._put(keys, prob * ~fine_ignore))
        self._steps += 1
        if self._steps % self._config.spread_every == 0 and self.spread.maxlen:
            self.spread.append(self.recent[0])
        if self._steps % self._config.learn_every == 0:
            self.target_model.learn(features.samples, labels.flatten(1), annotated=False)
        return labels

    def is_view_due(self) -> bool:
        """Say whether the appearance of well seen objects is to be kept from this frame."""
        return self._steps % self._config.view_every == 0

    def annotated_keys(self, object_id: int, row: int) -> Tensor:
        """List an object's cells where it was annotated last, (N, C); ``row`` is from 0."""
        anchor = next(anchor for anchor in reversed(self.anchors) if object_id in anchor.object_ids)
        share = downsample2x(anchor.prob)[row + 1].flatten()
        return anchor.features.match_keys.flatten(1)[:, representative_cells(share)].T

    def _limit_anchors(self, object_id: int) -> None:
        """Keep an object's first annotation and the latest ones; an anchor of no object goes when all is rebuilt."""
        held = [anchor for anchor in self.anchors if object_id in anchor.object_ids]
        for anchor in held[1 : 1 - self._config.anchors_per_object]:
            anchor.object_ids.discard(object_id)

    def _put(self, keys: Tensor, prob: Tensor) -> MemoryFrame:
        return self.store.put(keys, prob, self.frames())

    def _store_trusted(self, features: FrameFeatures, prob: Tensor) -> MemoryFrame:
        return self._put(self._config.anchor_key_gain * self.match_keys(features), prob)

    def _unlearn_background(self, anchor: Anchor, features: FrameFeatures, new: Tensor) -> None:
        """Remove the label "background" of an earlier frame where it looks like an object that came later."""
        values = downsample2x(new.sum(0, keepdim=True)).flatten(1)
        similar = global_votes(
            anchor.features.match_keys, features.match_keys.flatten(1), values, self._config.newcomer_top_k
        )
        anchor.prob[0] *= (F.interpolate(similar[None], scale_factor=2)[0, 0] < 0.3).to(anchor.prob.dtype)

    def _rebuild(self, features: FrameFeatures, labels: int, forgotten: int | None = None) -> None:
        """Drop anchors without objects; fill a new store and a new target model from the frames that stay.

        Args:
            features: of any frame, for sizes.
            labels: K + 1, from now on.
            forgotten: a row of labels that the stored frames still have and that is dropped.
        """
        self.anchors = [anchor for anchor in self.anchors if anchor.object_ids]
        slots = len(self.anchors) + (self.recent.maxlen or 0) + (self.spread.maxlen or 0) + 1
        old, self.store = self.store, KeyValueMemoryStore(slots, self.match_keys(features), labels)
        self.target_model = TargetModel(features.samples, labels, decay=0.9, rate=0.15, small=20)
        self._annotated.clear()
        for frames in (self.recent, self.spread):
            before = [*frames]
            frames.clear()
            for past in before:
                kept = old.labels_of(past)
                frames.append(self._put(old.cells_of(past), kept if forgotten is None else drop_row(kept, forgotten)))
        for anchor in self.anchors:
            self._annotated.append(self._store_trusted(anchor.features, anchor.prob))
            self.target_model.learn(anchor.features.samples, downsample2x(anchor.prob).flatten(1), annotated=True)


def contradicts_anchors(labels: Tensor, anchor_score: Tensor, rejected: float, changed: float) -> Tensor:
    """Find the cells that an object claims although the annotated frames put them elsewhere.

    Args:
        labels: float32 (K, h8, w8), each object's.
        anchor_score: float32 (K, h8, w8), the target model's scores by the annotated frames alone.
        rejected: a claimed cell with a lower score is contradicted,
        changed: unless that is so for more than this share of the object: then its appearance has changed.
    Returns:
        bool (h8, w8).
    """
    claimed = labels > 0.3
    wrong = claimed & (anchor_score < rejected)
    is_changed = wrong.sum((1, 2)) > changed * claimed.sum((1, 2))
    return (wrong & ~is_changed[:, None, None]).any(0)

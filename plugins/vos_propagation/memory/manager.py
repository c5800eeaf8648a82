"""Memory of a sequence: annotated frames, the most recent frames, a few frames further back, and the target model."""

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

# A cell of an earlier frame keeps its background label if less than this share of its most similar cells show an object
# annotated later.
NEWCOMER_SHARE = 0.3


@dataclass
class Anchor:
    """An annotated frame; it stays in memory for as long as one of its objects is tracked.

    Attributes:
        features: the frame's features.
        prob: float32 (K + 1, h4, w4), the annotation; sums to 0 where the label is unknown.
        object_ids: the objects annotated in it.
    """

    features: FrameFeatures
    prob: Tensor
    object_ids: set[int]


class MemoryManager:
    """Decides which frames are in memory; its size does not grow with the length of the video.

    Attributes:
        anchors: the annotated frames.
        store: the keys and labels of the memory frames.
        target_model: scores of each cell, learnt from the memory frames.
    """

    def __init__(self, config: MemoryConfig, features: FrameFeatures) -> None:
        """Begin a sequence.

        Args:
            config: the number of frames, and how often they are updated.
            features: the first annotated frame's features.
        """
        self._config = config
        self.anchors: list[Anchor] = []
        self._annotated: list[MemoryFrame] = []
        context = config.context
        self.spread: deque[MemoryFrame] = deque(maxlen=context // 3)
        self.recent: deque[MemoryFrame] = deque(maxlen=context - context // 3)
        self._axes = principal_axes(features.cells, config.match_dimensions)
        self.store = KeyValueMemoryStore(0, torch.zeros(1, 1, 4, 1, dtype=torch.float32), 1)
        self.target_model: TargetModel
        self._steps = 0

    def frames(self) -> list[MemoryFrame]:
        """List the frames that vote, the annotated ones first."""
        return [*self._annotated, *self.recent, *self.spread]

    def match_keys(self, features: FrameFeatures) -> Tensor:
        """Project a frame's features to match keys: (h8 / 2, w8 / 2, 4, D), in blocks of 2x2 cells."""
        keys = features.cells.flatten(1).T @ self._axes.T
        return in_blocks(keys.view(*features.cells.shape[1:], len(self._axes)))

    def add_annotation(self, features: FrameFeatures, prob: Tensor, annotated: set[int], new: int) -> None:
        """Store an annotated frame beside earlier annotated frames, and drop all tracked frames.

        Earlier annotations stay, as they are correct in their frame and show parts that this frame may not show.

        Args:
            features: the frame's features.
            prob: float32 (K + 1, h4, w4), the labels of the frame.
            annotated: ids of the objects annotated in this frame.
            new: number of new objects, which have the last rows of ``prob``.
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
        self.recent.append(self._store_anchor(features, prob))

    def forget(self, object_id: int, row: int, features: FrameFeatures) -> None:
        """Drop an object, whose labels have the row ``row``, from 1; its cells become background."""
        for anchor in self.anchors:
            anchor.object_ids.discard(object_id)
            anchor.prob = drop_row(anchor.prob, row)
        labels = self.store.labels - 1
        self._rebuild(features, labels, forgotten=row)

    def update(self, features: FrameFeatures, keys: Tensor, labels: Tensor) -> None:
        """Store a tracked frame, and update the target model every few frames.

        Args:
            features: the frame's features.
            keys: its match keys.
            labels: float32 (K + 1, h8, w8), its labels.
        """
        self.recent.append(self._store(keys, labels))
        self._steps += 1
        if self._steps % self._config.spread_every == 0 and self.spread.maxlen:
            self.spread.append(self.recent[0])
        if self._steps % self._config.learn_every == 0:
            self.target_model.learn(features.samples, labels.flatten(1), annotated=False)

    def is_view_due(self) -> bool:
        """Test whether this frame adds views of well visible objects."""
        return self._steps % self._config.view_every == 0

    def annotated_keys(self, object_id: int, row: int) -> Tensor:
        """Return the match keys of an object's cells in its latest annotation, (N, C); ``row`` is from 0."""
        anchor = next(anchor for anchor in reversed(self.anchors) if object_id in anchor.object_ids)
        share = downsample2x(anchor.prob)[row + 1].flatten()
        return anchor.features.cells.flatten(1)[:, representative_cells(share)].T

    def _limit_anchors(self, object_id: int) -> None:
        """Keep only an object's first and latest annotations; ``_rebuild`` drops anchors without objects."""
        anchors = [anchor for anchor in self.anchors if object_id in anchor.object_ids]
        for anchor in anchors[1 : 1 - self._config.anchors_per_object]:
            anchor.object_ids.discard(object_id)

    def _store(self, keys: Tensor, labels: Tensor) -> MemoryFrame:
        return self.store.put(keys, labels, self.frames())

    def _store_anchor(self, features: FrameFeatures, prob: Tensor) -> MemoryFrame:
        return self._store(self._config.anchor_key_gain * self.match_keys(features), downsample2x(prob))

    def _unlearn_background(self, anchor: Anchor, features: FrameFeatures, new: Tensor) -> None:
        """Remove the label "background" of an earlier frame where it looks like an object annotated later."""
        values = downsample2x(new.sum(0, keepdim=True)).flatten(1)
        similar = global_votes(anchor.features.cells, features.cells.flatten(1), values, self._config.newcomer_top_k)
        is_background = F.interpolate(similar[None], scale_factor=2)[0, 0] < NEWCOMER_SHARE
        anchor.prob[0] *= is_background.to(anchor.prob.dtype)

    def _rebuild(self, features: FrameFeatures, labels: int, forgotten: int | None = None) -> None:
        """Drop anchors without objects, and fill a new store and a new target model from the frames that stay.

        Args:
            features: features of any frame, for size and device.
            labels: the new number of labels, K + 1.
            forgotten: a row of the stored labels to drop; None drops no row.
        """
        self.anchors = [anchor for anchor in self.anchors if anchor.object_ids]
        slots = len(self.anchors) + (self.recent.maxlen or 0) + (self.spread.maxlen or 0) + 1
        old, self.store = self.store, KeyValueMemoryStore(slots, self.match_keys(features), labels)
        self.target_model = TargetModel(
            features.samples,
            labels,
            decay=self._config.learning_decay,
            rate=self._config.learning_rate,
            small=self._config.small_object_cells,
        )
        self._annotated.clear()
        for frames in (self.recent, self.spread):
            before = [*frames]
            frames.clear()
            for past in before:
                stored = old.labels_of(past)
                stored = stored if forgotten is None else drop_row(stored, forgotten)
                frames.append(self._store(old.cells_of(past), stored))
        for anchor in self.anchors:
            self._annotated.append(self._store_anchor(anchor.features, anchor.prob))
            self.target_model.learn(anchor.features.samples, downsample2x(anchor.prob).flatten(1), annotated=True)

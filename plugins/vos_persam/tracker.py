"""PerSAM on video, without the official code's faults: objects keep their ids, and may vanish and come back.

Per frame: one similarity map per object, prompts from it and from the object's last box, three decodings with all
objects in each, and a merge. An object counts as lost once its mask is less similar to it than a threshold between
the background's and its own similarity. It keeps its target and its last box, and the whole frame is searched until a
place is similar enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, BoolArray, Frame, LabelMap, Prediction, limit_threads, object_ids
from vos_persam import cascade
from vos_persam.cascade import ABSENT_LOGIT, OnStages, Stage
from vos_persam.guidance import guidance_for
from vos_persam.mask_weights import fit_mask_weights
from vos_persam.options import PersamFOptions, PersamOptions
from vos_persam.target import (
    boxes_of,
    cell_weights,
    center_of,
    count_places,
    coverage,
    expanded,
    mean_embedding,
    peak_embedding,
    refuse_more_points,
    similar_points,
    similarity,
    unit,
)
from vos_persam.tracked_object import TrackedObject, load_objects, save_objects
from vos_sam.decoder import Decoded
from vos_sam.model import Embedding, SegmentAnything
from vos_sam.prompt import Prompt
from vos_sam.view import View

OVERLAP = 0.5
"""A lost object is not found where objects that are present hold more of its mask than this."""


class PersamTracker:
    """``persam`` and ``persam-f``."""

    def __init__(self, sam: SegmentAnything, options: PersamOptions) -> None:
        """Prepare.

        Args:
            sam: the model.
            options: ``PersamFOptions`` for learnt mask weights.
        """
        self._sam = sam
        self._options = options
        self._objects: list[TrackedObject] = []
        self._last: Embedding | None = None
        self._is_started = False
        self.details = sam.details
        self.on_stages: OnStages | None = None
        self.encode_batch = 4 if sam.device.type == "cuda" else 1
        threads = torch.get_num_threads()
        # Encoding takes nearly all of a frame's time, and two threads encode at once.
        self._encoding_threads, self._tracking_threads = max(1, threads // 2), max(1, threads // 4)
        # On one core, encoding and tracking would run one after the other anyway.
        if sam.device.type == "cpu" and threads > 1:
            self.encode_ahead = self._encode_ahead

    def encode(self, frames: Sequence[Frame]) -> list[Embedding]:
        """Embed frames."""
        return self._sam.encode([frame.image for frame in frames])

    def _encode_ahead(self, frames: Sequence[Frame]) -> list[Embedding]:
        """Embed frames on some of the cores, while ``step`` uses the others."""
        with limit_threads(self._encoding_threads):
            return [replace(embedding, ahead=True) for embedding in self.encode(frames)]

    def start(self, frame: Frame, label_map: LabelMap, encoding: Embedding) -> None:
        """Add the first frame's objects.

        Raises:
            OptionError: ``topk`` is larger than the number of places in the frame.
        """
        refuse_more_points(self._options.topk, count_places(encoding.view, self._sam.grid))
        self._objects = []
        self._last, self._is_started = encoding, True
        self.annotate(frame, label_map)

    @torch.inference_mode()
    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        """Add objects, or correct known ones, from the frame of the last step."""
        assert self._last is not None, "the host starts a tracker before it annotates"
        ids = object_ids(label_map)
        if not ids:
            return
        given = [self._tracked_object(self._last, label_map == i, i) for i in ids]
        if isinstance(self._options, PersamFOptions):
            self._fit(self._last, given, label_map, self._options)
        known = {tracked.object_id: tracked for tracked in self._objects}
        known.update({tracked.object_id: tracked for tracked in given})
        self._objects = list(known.values())

    def forget(self, object_id: int) -> None:
        """Drop an object."""
        self._objects = [tracked for tracked in self._objects if tracked.object_id != object_id]

    def save(self, path: Path) -> None:
        """Write what is known of each object; see ``vos.plugin.SavingTracker``."""
        save_objects(path, self._objects)

    def load(self, path: Path) -> None:
        """Restore the state at the call of ``save``.

        Raises:
            InputError: the file is damaged, or of another model.
        """
        self._objects = load_objects(path, self._sam.channels, self._sam.device)
        self._is_started = True

    def close(self) -> None:
        """Release the last frame's embedding."""
        self._last = None

    def _tracked_object(self, embedding: Embedding, mask: BoolArray, object_id: int) -> TrackedObject:
        features, view = embedding.features, embedding.view
        covered = coverage(mask, view, self._sam.grid)
        weights = cell_weights(covered)
        target = peak_embedding(features, weights)
        near = similarity(features, unit(target)[None])[0].cpu()
        others = view.crop(near)[view.crop(covered) == 0]
        inside = float((near * weights).sum() / weights.sum())
        (box,) = boxes_of(torch.from_numpy(mask)[None])
        assert box is not None, "cell_weights raises for an empty mask"
        return TrackedObject(
            object_id,
            target,
            mean_embedding(features, weights),
            box,
            present=True,
            inside=inside,
            outside=float(others.mean()) if len(others) else -1.0,
            rival=float(others.quantile(0.99)) if len(others) else -1.0,
        )

    def _fit(
        self, embedding: Embedding, given: Sequence[TrackedObject], label_map: LabelMap, options: PersamFOptions
    ) -> None:
        maps = similarity(embedding.features, unit(torch.stack([tracked.target for tracked in given])))
        stage = cascade.decode(self._sam, embedding, self._prompts(embedding, given, maps))
        for tracked, low_res in zip(given, stage.decoded.low_res_logits, strict=True):
            tracked.weights = fit_mask_weights(
                embedding.view.upsample(low_res),
                label_map == tracked.object_id,
                epochs=options.epochs,
                rate=options.rate,
            )

    @torch.inference_mode()
    def step(self, frame: Frame, encoding: Embedding) -> Prediction:
        """Segment the next frame."""
        if not self._is_started:
            raise RuntimeError("step before start")
        with limit_threads(self._tracking_threads if encoding.ahead else None):
            return self._segment(frame, encoding)

    def _segment(self, frame: Frame, encoding: Embedding) -> Prediction:
        self._last = encoding
        tracked = self._objects
        ids = [t.object_id for t in tracked]
        if not tracked:
            return Prediction((), np.zeros((0, *frame.size), np.float32))
        maps = similarity(encoding.features, unit(torch.stack([t.target for t in tracked])))
        searched = self._rows_to_search(encoding, maps)
        low_res = torch.full((len(tracked), *_low_res_size(self._sam)), ABSENT_LOGIT, device=self._sam.device)
        scores = np.zeros(len(tracked), np.float32)
        if searched:
            stages = self._cascade(encoding, [tracked[row] for row in searched], maps[searched])
            if self.on_stages is not None:
                self.on_stages(frame.index, stages)
            low_res[searched] = stages[-1].low_res_logits
            scores[searched] = stages[-1].predicted_iou.clamp(0, 1).cpu().numpy()
        logits = encoding.view.upsample(low_res, at_most_input=True)
        present = self._present(encoding, maps, low_res, logits, searched)
        self._update_memory(encoding, logits, present)
        return Prediction(ids, logits.cpu().numpy(), np.where(present, scores, 0), present)

    def _rows_to_search(self, embedding: Embedding, maps: Tensor) -> list[int]:
        """Rows of objects that are present, and of lost objects that some place of the frame resembles enough."""
        valid = embedding.view.crop(maps).flatten(1).amax(dim=1).cpu()
        return [
            row
            for row, tracked in enumerate(self._objects)
            if tracked.present or float(valid[row]) >= tracked.found_above(self._options.found)
        ]

    def _prompts(self, embedding: Embedding, objects: Sequence[TrackedObject], maps: Tensor) -> list[Prompt]:
        """Points where the frame is most similar; for objects that are present also their last box and its centre."""
        options, view = self._options, embedding.view
        points = similar_points(maps, view, options.topk)
        lowest = similar_points(maps, view, 1, largest=False) if options.negative else np.zeros((len(maps), 0, 2))
        prompts = []
        for own, against, tracked in zip(points, lowest, objects, strict=True):
            box = expanded(tracked.box, options.margin, view) if tracked.present else None
            center = center_of(box)[None] if box is not None and options.center else np.zeros((0, 2))
            xy = np.concatenate([own, center, against])
            labels = np.array([1] * (len(own) + len(center)) + [0] * len(against))
            prompts.append(Prompt(xy, labels, box if options.box else None))
        return prompts

    def _cascade(self, embedding: Embedding, objects: Sequence[TrackedObject], maps: Tensor) -> list[Stage]:
        """The three decodings; the last one's chosen masks are the result."""
        prompts = self._prompts(embedding, objects, maps)
        guidance = None
        if self._options.guided:
            guidance = guidance_for(maps, embedding.view, torch.stack([tracked.pooled for tracked in objects]))

        def last_box(row: int) -> AnyArray | None:
            return prompts[row].box_xyxy

        if all(tracked.weights for tracked in objects):
            first = cascade.decode(self._sam, embedding, prompts, hooks=guidance)
            weights = torch.tensor([tracked.weights for tracked in objects], device=self._sam.device)
            weighted = (first.decoded.low_res_logits * weights[..., None, None]).sum(dim=1)
            second = cascade.refine_with_box(self._sam, embedding, prompts, weighted, last_box)
        else:

            def largest(decoded: Decoded) -> Tensor:
                return (embedding.view.crop(decoded.low_res_logits) > 0).sum(dim=(2, 3)).argmax(dim=1)

            first = cascade.decode(self._sam, embedding, prompts, largest, hooks=guidance)
            second = cascade.refine_with_mask(self._sam, embedding, first)
        third = cascade.refine_with_box(self._sam, embedding, prompts, second.low_res_logits, last_box)
        return [first, second, third]

    def _present(
        self, embedding: Embedding, maps: Tensor, low_res: Tensor, logits: Tensor, searched: Sequence[int]
    ) -> BoolArray:
        """Decide which objects are in the frame: bool (K,)."""
        view = embedding.view
        covered = view.crop(F.interpolate((low_res > 0).float()[None], self._sam.grid, mode="area")[0])
        area = covered.sum(dim=(1, 2))
        near = ((view.crop(maps) * covered).sum(dim=(1, 2)) / area.clamp(min=1e-6)).cpu().numpy()
        there = (area > 0).cpu().numpy()
        present = np.zeros(len(self._objects), dtype=np.bool_)
        options = self._options
        for row in searched:
            tracked = self._objects[row]
            bound = tracked.lost_below(options.lost if tracked.present else options.found)
            present[row] = there[row] and near[row] >= bound
        taken = np.array([tracked.present for tracked in self._objects]) & present
        found = present & ~taken
        if found.any() and taken.any():
            held = logits[taken].amax(dim=0) > 0
            for row in np.flatnonzero(found).tolist():
                own = logits[row] > 0
                present[row] = bool((own & held).sum() <= OVERLAP * own.sum())
        return present

    def _update_memory(self, embedding: Embedding, logits: Tensor, present: BoolArray) -> None:
        """Update each visible object's box and running average; an object without a pixel is not present."""
        height, width = embedding.view.size
        scale = np.array([width / logits.shape[-1], height / logits.shape[-2]] * 2)
        corner = np.array([0, 0, 1, 1])
        shown = torch.where(torch.from_numpy(present).to(logits.device)[:, None, None], logits, ABSENT_LOGIT)
        best, owner = shown.max(dim=0)
        rows = torch.arange(len(logits), device=logits.device)[:, None, None]
        masks = (owner == rows) & (best > 0)
        for row, box in enumerate(boxes_of(masks)):
            tracked = self._objects[row]
            present[row] = box is not None
            tracked.present = box is not None
            if box is not None:
                tracked.box = ((box + corner) * scale).round().astype(np.int64) - corner
        if self._options.memory:
            self._average(embedding, masks, present)

    def _average(self, embedding: Embedding, masks: Tensor, present: BoolArray) -> None:
        share = self._options.memory
        for row in np.flatnonzero(present).tolist():
            weights = cell_weights(_grid_coverage(masks[row], embedding, self._sam.grid))
            tracked = self._objects[row]
            fresh = peak_embedding(embedding.features, weights)
            tracked.target = (1 - share) * tracked.target + share * fresh
            tracked.pooled = (1 - share) * tracked.pooled + share * mean_embedding(embedding.features, weights)


def _low_res_size(sam: SegmentAnything) -> tuple[int, int]:
    return 4 * sam.grid[0], 4 * sam.grid[1]


def _grid_coverage(mask: Tensor, embedding: Embedding, grid: tuple[int, int]) -> Tensor:
    """``coverage`` of a mask at any resolution of the frame's view."""
    height, width = mask.shape
    return coverage(mask.cpu().numpy(), View((height, width), embedding.view.side), grid)

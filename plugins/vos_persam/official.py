"""PerSAM on video, step by step as the official scripts do it, faults included (``compat=true``).

Reproduced on purpose, from persam_video.py and persam_video_f.py at a7e8724:

- the object's cells are those where the mask, painted 215 and treated as a picture, stays above the mean colour;
- ``persam`` compares the areas of the three first masks modulo 256 (``dtype=np.uint8``);
- boxes are rebuilt from the labels that are present and paired with the targets by position, so when an object
  vanishes the labels of those after it shift down, and the last one is never predicted again;
- labels are positions: 1 to K there, here the annotation's ids in rising order.

Where the official code crashes (an empty mask has no box; an object without a cell has no features), this raises.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, EmptyMaskError, Frame, LabelMap, Prediction, TrackerError, object_ids
from vos_persam import cascade
from vos_persam.cascade import ABSENT_LOGIT, OnStages, Stage
from vos_persam.mask_weights import FitHistory, fit_mask_weights
from vos_persam.options import PersamFOptions, PersamOptions
from vos_persam.target import (
    at_frame_size,
    boxes_of,
    center_of,
    expanded,
    extreme_points,
    official_cells,
    peak_embedding,
    refuse_more_points,
    similarity,
    unit,
)
from vos_sam.decoder import Decoded
from vos_sam.model import Embedding, SegmentAnything
from vos_sam.prompt import Prompt

MASK_VALUE = 215
"""What the official code multiplies the mask with (``--exp``)."""


class OfficialTracker:
    """The official video scripts as a tracker; the type of ``options`` decides between the two."""

    def __init__(self, sam: SegmentAnything, options: PersamOptions, *, wrap_areas: bool = True) -> None:
        """Prepare.

        Args:
            sam: the model.
            options: ``PersamFOptions`` for persam_video_f.py.
            wrap_areas: compare areas modulo 256, as the official code does.
        """
        self._sam = sam
        self._options = options
        self._wrap = wrap_areas
        self._ids: tuple[int, ...] = ()
        self._targets = torch.zeros(0, 0)
        self._boxes: list[AnyArray] = []
        self._weights = torch.zeros(0, 3)
        self.on_stages: OnStages | None = None
        self.histories: list[FitHistory] = []
        self.details = sam.details

    @property
    def target_features(self) -> Tensor:
        """float32 (K, C), unit length."""
        return self._targets

    @property
    def mask_weights(self) -> Tensor:
        """float32 (K, 3), learnt for each object; empty for ``persam``."""
        return self._weights

    def encode(self, frames: Sequence[Frame]) -> list[Embedding]:
        """Embed frames."""
        return self._sam.encode([frame.image for frame in frames])

    def start(self, frame: Frame, label_map: LabelMap, encoding: Embedding) -> None:
        """Compute the first frame's targets and boxes; for ``persam-f`` fit the mask weights."""
        refuse_more_points(self._options.topk, frame.size[0] * frame.size[1])
        self._ids = object_ids(label_map)
        masks = [label_map == i for i in self._ids]
        cells = [official_cells(mask, encoding.view, self._sam.grid, MASK_VALUE) > 0 for mask in masks]
        for object_id, selected in zip(self._ids, cells, strict=True):
            if not selected.any():
                raise EmptyMaskError(
                    f"frame {frame.name}: object {object_id} holds no cell of the feature map, and the official "
                    "code gives NaN for it. Leave out compat=true."
                )
        features = encoding.features
        self._targets = unit(torch.stack([peak_embedding(features, c.float()) for c in cells]))
        self._boxes = [box for mask in masks for box in boxes_of(torch.from_numpy(mask)[None]) if box is not None]
        self._weights = torch.zeros(0, 3)
        self.histories = []
        if isinstance(self._options, PersamFOptions):
            self._fit(encoding, masks, self._options)

    def _fit(self, embedding: Embedding, masks: Sequence[AnyArray], options: PersamFOptions) -> None:
        stage = cascade.decode(self._sam, embedding, self._first_prompts(embedding))
        self._report_stages(0, [stage])
        weights = []
        for mask, low_res in zip(masks, stage.decoded.low_res_logits, strict=True):
            history = FitHistory()
            logits = embedding.view.upsample(low_res)
            weights.append(fit_mask_weights(logits, mask, epochs=options.epochs, rate=options.rate, history=history))
            self.histories.append(history)
        self._weights = torch.tensor(weights, device=embedding.features.device)

    def step(self, frame: Frame, encoding: Embedding) -> Prediction:
        """Predict the next frame; rows are positions, named by the annotation's ids."""
        slots = min(len(self._targets), len(self._boxes))
        rows = np.full((len(self._ids), *frame.size), ABSENT_LOGIT, np.float32)
        if not slots:
            self._boxes = []
            return Prediction(self._ids, rows, present=[False] * len(self._ids))
        prompts = self._first_prompts(encoding)
        stages = self._learnt(frame, encoding, prompts) if len(self._weights) else self._plain(frame, encoding, prompts)
        self._report_stages(frame.index, stages)
        logits = encoding.view.upsample(stages[-1].low_res_logits)
        positions = torch.cat([torch.zeros_like(logits[:1]), logits]).argmax(dim=0)
        shown = torch.stack([positions == position for position in range(1, len(self._ids) + 1)])
        self._boxes = [box for box in boxes_of(shown) if box is not None]
        rows[:slots] = logits.cpu().numpy()
        return Prediction(self._ids, rows, present=[bool(mask.any()) for mask in shown])

    def _report_stages(self, index: int, stages: Sequence[Stage]) -> None:
        if self.on_stages is not None:
            self.on_stages(index, stages)

    def _first_prompts(self, embedding: Embedding) -> list[Prompt]:
        options, view = self._options, embedding.view
        count = min(len(self._targets), len(self._boxes))
        maps = similarity(embedding.features, self._targets[:count])
        points = extreme_points(at_frame_size(maps, view), options.topk)
        prompts = []
        for own, box in zip(points, self._boxes, strict=False):
            around = expanded(box, options.margin, view)
            prompts.append(Prompt(np.concatenate([own, center_of(around)[None]]), None, around))
        return prompts

    def _plain(self, frame: Frame, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Stage]:
        """persam_video.py:103-160."""

        def largest(decoded: Decoded) -> Tensor:
            areas = (embedding.view.upsample(decoded.low_res_logits) > 0).sum(dim=(2, 3))
            return (areas % 256 if self._wrap else areas).argmax(dim=1)

        first = cascade.decode(self._sam, embedding, prompts, largest)
        second = cascade.refine_with_mask(self._sam, embedding, first)
        third = self._with_box(frame, embedding, prompts, second.low_res_logits)
        return [first, second, third]

    def _learnt(self, frame: Frame, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Stage]:
        """persam_video_f.py:206-262. Where the weighted mask is empty, the box is that of the best single mask."""
        weights = self._weights[: len(prompts)]
        first = cascade.decode(self._sam, embedding, prompts)
        weighted = (first.decoded.low_res_logits * weights[..., None, None]).sum(dim=1)
        by_score = (first.decoded.predicted_iou * weights[:, :1]).argmax(dim=1)
        instead = first.decoded.low_res_logits[torch.arange(len(prompts)), by_score]

        def single(row: int) -> AnyArray:
            (box,) = cascade.mask_boxes(embedding, instead[row : row + 1])
            return self._refuse_empty_mask(frame, row) if box is None else box

        second = cascade.refine_with_box(self._sam, embedding, prompts, weighted, single)
        third = self._with_box(frame, embedding, prompts, second.low_res_logits)
        return [first, second, third]

    def _with_box(self, frame: Frame, embedding: Embedding, prompts: Sequence[Prompt], low_res: Tensor) -> Stage:
        return cascade.refine_with_box(
            self._sam, embedding, prompts, low_res, lambda row: self._refuse_empty_mask(frame, row)
        )

    def _refuse_empty_mask(self, frame: Frame, row: int) -> AnyArray:
        raise TrackerError(
            f"frame {frame.name}: the mask of object {self._ids[row]} is empty before its box is taken, where the "
            "release crashes. Leave out compat=true."
        )

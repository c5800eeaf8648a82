"""Masks of a whole frame, prompted by a grid of points; the largest that do not overlap become a label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, EmptyMaskError, Frame, LabelMap
from vos_sam.model import Embedding, SegmentAnything
from vos_sam.options import EverythingOptions
from vos_sam.prompt import Prompt

PROMPTS_PER_CALL = 32
STABILITY_OFFSET = 1.0
"""Logits by which the threshold is moved up and down to see how stable a mask is."""
DUPLICATE_IOU = 0.7
"""Of two masks whose boxes overlap more than this, the lower rated is dropped."""
OVERLAP = 0.2
"""A mask is left out if larger ones already hold more of it than this."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Masks found without a prompt, best rated first.

    Attributes:
        low_res_logits: float32 (N, S, S), on the model's square input.
        predicted_iou: float32 (N,).
        stability: float32 (N,), IoU of the masks at the thresholds one logit up and down.
    """

    low_res_logits: Tensor
    predicted_iou: Tensor
    stability: Tensor


def grid_points(embedding: Embedding, per_side: int) -> AnyArray:
    """Points in the middle of a grid's cells: float64 (per_side ** 2, 2), x first, pixels of the frame."""
    height, width = embedding.view.size
    steps = (np.arange(per_side) + 0.5) / per_side
    x, y = np.meshgrid(steps * width - 0.5, steps * height - 0.5)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def propose(
    sam: SegmentAnything, embedding: Embedding, per_side: int, *, predicted_iou: float = 0.0, stability: float = 0.0
) -> Proposals:
    """Find masks on a grid of points: three for each, filtered, duplicates removed.

    Args:
        sam: the model.
        embedding: the frame's.
        per_side: points on each side of the grid.
        predicted_iou: masks that the model rates lower are dropped.
        stability: masks that are less stable are dropped.
    Source: arXiv:2304.02643, appendix B; segment_anything/automatic_mask_generator.py:218-321 at dca509f. Duplicates
        and stability are judged at the decoder's resolution, not the frame's; there are no crops.
    """
    points = grid_points(embedding, per_side)
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(points), PROMPTS_PER_CALL):
        decoded = sam.decode(embedding, [Prompt(point[None]) for point in points[start : start + PROMPTS_PER_CALL]])
        logits, rated = decoded.low_res_logits.flatten(0, 1), decoded.predicted_iou.flatten()
        shown = embedding.view.crop(logits)
        inner = (shown > STABILITY_OFFSET).sum(dim=(1, 2))
        outer = (shown > -STABILITY_OFFSET).sum(dim=(1, 2))
        stable = inner / outer.clamp(min=1)
        keep = (rated >= predicted_iou) & (stable >= stability) & (shown > 0).any(dim=2).any(dim=1)
        kept.append((logits[keep], rated[keep], stable[keep]))
    logits, rated, stable = (torch.cat(parts) for parts in zip(*kept, strict=True))
    unique = _without_duplicates(embedding.view.crop(logits) > 0, rated)
    return Proposals(logits[unique], rated[unique], stable[unique])


def _without_duplicates(masks: Tensor, rated: Tensor) -> Tensor:
    """Non-maximum suppression on the masks' boxes: indices, best rated first."""
    from torchvision.ops import nms

    if not len(masks):
        return torch.zeros(0, dtype=torch.int64, device=masks.device)
    kept: Tensor = nms(_boxes(masks), rated.float(), DUPLICATE_IOU)
    return kept


def _boxes(masks: Tensor) -> Tensor:
    """Boxes of bool (N, h, w), none empty: float32 (N, 4), ends not included."""
    columns, rows = masks.any(dim=1).float(), masks.any(dim=2).float()
    ends = [columns.argmax(1), rows.argmax(1)]
    ends += [line.shape[1] - line.flip(1).argmax(1) for line in (columns, rows)]
    return torch.stack(ends, dim=1).float()


class EverythingInitializer:
    """``sam-everything``: up to N objects, the largest and most stable first, none over another."""

    def __init__(self, options: EverythingOptions, sam: SegmentAnything) -> None:
        self._options = options
        self._sam = sam

    @torch.inference_mode()
    def initialize(self, frame: Frame) -> LabelMap:
        """Find the objects of a frame; ids go from the largest to the smallest."""
        options = self._options
        (embedding,) = self._sam.encode([frame.image])
        found = propose(
            self._sam,
            embedding,
            options.points_per_side,
            predicted_iou=options.predicted_iou,
            stability=options.stability,
        )
        label_map = self._place(frame, embedding, found)
        if not label_map.any():
            raise EmptyMaskError(
                f"frame {frame.name}: no mask passed ({len(found.stability)} were left after rating). "
                "Lower predicted_iou, stability or min_share, raise max_share, or give points."
            )
        return label_map

    def _place(self, frame: Frame, embedding: Embedding, found: Proposals) -> LabelMap:
        options = self._options
        shown = embedding.view.crop(found.low_res_logits) > 0
        share = shown.float().mean(dim=(1, 2))
        order = (share * found.stability).argsort(descending=True, stable=True).tolist()
        label_map = np.zeros(frame.size, dtype=np.uint8)
        count = 0
        for row in order:
            if count == options.max_objects:
                break
            if not options.min_share <= float(share[row]) <= options.max_share:
                continue
            mask = (embedding.view.upsample(found.low_res_logits[row : row + 1])[0] > 0).cpu().numpy()
            free = mask & (label_map == 0)
            if free.sum() < (1 - OVERLAP) * mask.sum() or not free.any():
                continue
            count += 1
            label_map[free] = count
        return label_map

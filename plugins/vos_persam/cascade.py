"""PerSAM's three decodings, all objects together: prompts, then the mask, then the mask and its box.

Each stage is one decoder call for all objects. Only the masks that a stage chose are brought to the frame's size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray
from vos_persam.target import boxes_of
from vos_sam.decoder import Decoded, DecoderHooks
from vos_sam.model import Embedding, SegmentAnything
from vos_sam.prompt import Prompt

ABSENT_LOGIT = -32.0
"""Logit of every pixel of an object that the frame is not searched for."""

Chooser = Callable[[Decoded], Tensor]
"""Returns the index of the mask of each object that the next stage refines: int64 (K,)."""

MissingBox = Callable[[int], AnyArray | None]
"""Returns the box of the object in a row whose mask is empty, or None for no box."""

OnStages = Callable[[int, Sequence["Stage"]], None]
"""Called with each frame's index and stages; tests read prompts and results from it."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One decoding.

    Attributes:
        prompts: each object's prompt.
        decoded: all masks, and their predicted IoU.
        chosen: int64 (K,), the mask that the next stage refines.
    """

    prompts: Sequence[Prompt]
    decoded: Decoded
    chosen: Tensor

    @property
    def low_res_logits(self) -> Tensor:
        """float32 (K, S, S) of the chosen masks."""
        return self.decoded.low_res_logits[torch.arange(len(self.chosen)), self.chosen]

    @property
    def predicted_iou(self) -> Tensor:
        """float32 (K,) of the chosen masks."""
        return self.decoded.predicted_iou[torch.arange(len(self.chosen)), self.chosen]


def best_score(decoded: Decoded) -> Tensor:
    """Choose by predicted IoU."""
    return decoded.predicted_iou.argmax(dim=1)


def decode(
    sam: SegmentAnything,
    embedding: Embedding,
    prompts: Sequence[Prompt],
    choose: Chooser = best_score,
    *,
    multimask: bool = True,
    hooks: DecoderHooks | None = None,
) -> Stage:
    """Run one stage for all objects."""
    decoded = sam.decode(embedding, prompts, multimask=multimask, hooks=hooks)
    return Stage(prompts, decoded, choose(decoded))


def refine_with_mask(sam: SegmentAnything, embedding: Embedding, stage: Stage) -> Stage:
    """Second stage: the same points and the chosen mask, without a box."""
    prompts = [
        Prompt(prompt.points_xy, prompt.point_labels, None, logits)
        for prompt, logits in zip(stage.prompts, stage.low_res_logits, strict=True)
    ]
    return decode(sam, embedding, prompts)


def refine_with_box(
    sam: SegmentAnything,
    embedding: Embedding,
    prompts: Sequence[Prompt],
    low_res_logits: Tensor,
    missing_box: MissingBox,
) -> Stage:
    """A stage with points, a mask and the mask's own box.

    Args:
        sam: the model.
        embedding: the frame's.
        prompts: give the points.
        low_res_logits: float32 (K, S, S), the masks.
        missing_box: called where a mask is empty; None leaves the box out.
    """
    boxes = mask_boxes(embedding, low_res_logits)
    return decode(
        sam,
        embedding,
        [
            replace(prompt, box_xyxy=missing_box(row) if box is None else box, low_res_logits=logits)
            for row, (prompt, box, logits) in enumerate(zip(prompts, boxes, low_res_logits, strict=True))
        ],
    )


def mask_boxes(embedding: Embedding, low_res_logits: Tensor) -> list[AnyArray | None]:
    """Each mask's box in pixels of the frame, found at frame size; None where it is empty.

    A frame larger than the model's input is searched at the input's size.
    """
    view = embedding.view
    masks = view.upsample(low_res_logits, at_most_input=True) > 0
    boxes = boxes_of(masks)
    if tuple(masks.shape[-2:]) == view.size:
        return boxes
    height, width = view.size
    scale = np.array([width / masks.shape[-1], height / masks.shape[-2]] * 2)
    corner = np.array([0, 0, 1, 1])
    return [None if box is None else ((box + corner) * scale).round().astype(np.int64) - corner for box in boxes]

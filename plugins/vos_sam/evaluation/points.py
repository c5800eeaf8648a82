"""Masks from a single point, with the oracle of three (arXiv:2304.02643, section 7.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vos.plugin import AnyArray, BoolArray, object_ids, read_image, read_label_map
from vos_sam.model import SegmentAnything
from vos_sam.prompt import Prompt


@dataclass(frozen=True)
class PointScore:
    """Scores of one object, in [0, 1].

    Attributes:
        confident: IoU of the mask with the highest predicted IoU.
        oracle: highest IoU of the three masks.
    """

    confident: float
    oracle: float


def center_point(mask: BoolArray) -> AnyArray:
    """Find the pixel of a mask that is farthest from its border: int64 (2,), x first.

    The frame's border counts as the mask's.
    """
    inner = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(inner.argmax()), mask.shape)
    return np.array([column, row])


def score_masks(masks: BoolArray, predicted_iou: AnyArray, truth: BoolArray) -> PointScore:
    """Score one object's three masks.

    Args:
        masks: bool (3, H, W).
        predicted_iou: (3,).
        truth: bool (H, W), not empty.
    """
    shared = (masks & truth).sum(axis=(1, 2))
    iou = shared / (masks | truth).sum(axis=(1, 2))
    return PointScore(float(iou[int(np.argmax(predicted_iou))]), float(iou.max()))


def evaluate_points(sam: SegmentAnything, images: Sequence[Path], label_maps: Sequence[Path]) -> Iterator[PointScore]:
    """Prompt each object of each image with its centre.

    Args:
        sam: the model.
        images: image files.
        label_maps: their label maps; each id is an object.
    Yields:
        One score for each object.
    """
    for image, label_map in zip(images, label_maps, strict=True):
        pixels = read_image(image)
        truth = read_label_map(label_map, (pixels.shape[0], pixels.shape[1]))
        (embedding,) = sam.encode([pixels])
        for object_id in object_ids(truth):
            mask = truth == object_id
            decoded = sam.decode(embedding, [Prompt(center_point(mask)[None])])
            found = (embedding.view.upsample(decoded.low_res_logits[0]) > 0).cpu().numpy()
            yield score_masks(found, decoded.predicted_iou[0].cpu().numpy(), mask)

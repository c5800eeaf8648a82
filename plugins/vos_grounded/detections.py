"""Choose boxes: threshold, non-maximum suppression, a limit for each phrase."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import clip_boxes_to_image, nms

from vos.plugin import EmptyMaskError, Frame, Size, VosError
from vos_grounded.options import MAX_OBJECTS, TextOptions

logger = logging.getLogger("vos.grounded")

MAX_NAMED = 5
"""How many phrases a message names."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections of a frame: N boxes, each with its likeliest phrase.

    Attributes:
        boxes: float32 (N, 4), x0, y0, x1, y1 in pixels of the frame; x1 and y1 are the right and lower border.
        scores: float32 (N,), in [0, 1].
        phrases: int64 (N,), indices into the prompt's phrases.
        highest: float32 (P,), each phrase's highest score in any box, also where another phrase is likelier.
    """

    boxes: Tensor
    scores: Tensor
    phrases: Tensor
    highest: Tensor

    def inside(self, size: Size) -> Detections:
        """Cut boxes off at the border of a frame of (H, W) pixels, and leave out those of less than a pixel in it."""
        height, width = size
        boxes = clip_boxes_to_image(self.boxes.float(), (height, width))
        kept = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(dim=1).nonzero()[:, 0]
        return Detections(boxes[kept], self.scores[kept], self.phrases[kept], self.highest)


def choose_objects(
    found: Detections, phrases: Sequence[str], options: TextOptions, threshold: float, frame: Frame
) -> Tensor:
    """Choose the boxes that become objects.

    Args:
        found: all of the detector's boxes.
        phrases: what was asked for.
        options: the suppression's IoU and the limit for each phrase.
        threshold: boxes with a lower score are left out.
        frame: named in messages.
    Returns:
        int64 (K,), rows of ``found``: by phrase, the likeliest of each first; at most 254.
    Raises:
        EmptyMaskError: no box is left.
        VosError: the scores are no numbers.
    """
    if found.highest.isnan().any():
        raise VosError(
            f"frame {frame.name}: the probabilities are not numbers. "
            "With --precision fp16 try bf16 or fp32; otherwise the weights are damaged: fetch them again."
        )
    rows = (found.scores >= threshold).nonzero()[:, 0]
    # Boxes of all phrases suppress one another: an object that is "dog" and "animal" has one id.
    rows = rows[nms(found.boxes[rows], found.scores[rows].float(), options.nms)][:MAX_OBJECTS].cpu()
    by_phrase = [rows[found.phrases.cpu()[rows] == phrase] for phrase in range(len(phrases))]
    if options.max_per_phrase:
        by_phrase = [of_phrase[: options.max_per_phrase] for of_phrase in by_phrase]
    absent = [
        f"no {phrase} (at most {highest:.2f}{', on no box of its own in the frame' if highest >= threshold else ''})"
        for phrase, highest, own in zip(phrases, found.highest.tolist(), by_phrase, strict=True)
        if not len(own)
    ]
    message = (
        f"frame {frame.name}: found {' and '.join(absent[:MAX_NAMED])} with a probability of {threshold:g} or more"
    )
    if len(absent) == len(phrases):
        raise EmptyMaskError(f"{message}. Try other words, or a lower threshold.")
    if absent:
        logger.warning("%s.", message)
    return rows.new_tensor([row for of_phrase in by_phrase for row in of_phrase.tolist()])


def log_objects(found: Detections, phrases: Sequence[str], rows: Tensor, object_ids: Sequence[int]) -> None:
    """Say with --debug which object is of which phrase."""
    for object_id, row in zip(object_ids, rows.tolist(), strict=True):
        logger.debug("object %d: %s, %.2f", object_id, phrases[int(found.phrases[row])], float(found.scores[row]))

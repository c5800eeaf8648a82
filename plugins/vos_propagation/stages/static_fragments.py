"""Stage ``static_fragments``: drop small fragments that stay with the ground while their object moves on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, FloatArray, Size
from vos_propagation.ops.components import Cells, several_components
from vos_propagation.stages.decoder_network import LOGIT_LIMIT
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState

# A fragment moves like the ground around it if their flows differ by less than SAME, and its object does not if they
# differ by more than OTHER; cells of 4 px a frame.
SAME, OTHER = 0.4, 1.0
# Largest fragment, as a share of the object's main component; smallest, in cells.
SHARE, SMALLEST = 0.3, 6
# A fragment whose mean score by the target model is higher looks like the object and is kept.
ALIKE = 0.45
# Cells around a fragment that are its ground.
AROUND = 4


def remove_static_fragments(logits: Tensor, score: Tensor, flow: FloatArray) -> Tensor:
    """Lower the logits (K, 2 h, 2 w) of static fragments; ``score`` is (K, h, w)."""
    masks = (logits > 0).cpu().numpy()
    found = static_fragments(masks, score.cpu().numpy(), flow)
    if not found.any():
        return logits
    return logits.masked_fill(torch.from_numpy(found).to(logits.device), -LOGIT_LIMIT)


def static_fragments(masks: AnyArray, score: FloatArray, flow: FloatArray) -> AnyArray:
    """Find the fragments that stay with the ground.

    Args:
        masks: bool (K, h, w), each object's mask.
        score: float32 (K, h / 2, w / 2), the target model's.
        flow: float32 (h, w, 2), of the image, cells a frame.
    Returns:
        bool (K, h, w).
    """
    found = np.zeros_like(masks)
    taken: AnyArray | None = None
    for mask, own_score, own_found in zip(masks, score, found, strict=True):
        pieces = several_components(mask)
        if not pieces:
            continue
        main = max(pieces, key=lambda cells: len(cells[0]))
        motion: FloatArray | None = None
        for cells in pieces:
            small = SMALLEST <= len(cells[0]) <= SHARE * len(main[0])
            if not small or own_score[cells[0] // 2, cells[1] // 2].mean() > ALIKE:
                continue
            taken = _grown(np.logical_or.reduce(masks, axis=0), 1) if taken is None else taken
            ground = _around(cells, mask.shape, taken)
            if len(ground[0]) < SMALLEST:
                continue
            motion = np.median(flow[main], 0) if motion is None else motion
            around = np.median(flow[ground], 0)
            still = np.hypot(*(np.median(flow[cells], 0) - around)) < SAME
            if still and np.hypot(*(motion - around)) > OTHER:
                own_found[cells] = True
    return found


def _around(cells: Cells, shape: Size, taken: AnyArray) -> Cells:
    """List the cells within ``AROUND`` of a fragment that no object covers."""
    starts = [max(0, int(at.min()) - AROUND) for at in cells]
    stops = [min(length, int(at.max()) + 1 + AROUND) for at, length in zip(cells, shape, strict=True)]
    top, left = starts
    piece = np.zeros((stops[0] - top, stops[1] - left), bool)
    piece[cells[0] - top, cells[1] - left] = True
    rows, columns = np.nonzero(_grown(piece, AROUND) & ~taken[top : stops[0], left : stops[1]])
    return rows + top, columns + left


def _grown(mask: AnyArray, cells: int) -> AnyArray:
    side = 2 * cells + 1
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)) > 0)


class StaticFragments(Stage):
    """Changes ``logits_s4``."""

    name = "static_fragments"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Drop what the objects uncovered and left behind."""
        frame.logits_s4 = remove_static_fragments(frame.logits_s4, frame.score_s8, frame.flow_s4)

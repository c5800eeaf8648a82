"""Prompts as the click decoder sees them: proximity to marks, the box, and similarity to what the marks lie on."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vos.plugin import AnyArray, BoolArray, FloatArray

NEAR_CELLS, WIDE_CELLS = 2.0, 16.0
"""Reach of the two proximities, in cells: each falls by a factor e over it."""
MAX_SEEDS = 48
"""Cells under marks whose features are compared; of more, some at even distances are taken."""


def prompt_maps(on_object: BoolArray, beside: BoolArray, box: BoolArray, previous: FloatArray) -> FloatArray:
    """Stack what the marks say.

    Args:
        on_object: bool (h, w), cells under marks on the object.
        beside: bool (h, w), cells under marks beside it.
        box: bool (h, w), cells in the box; none where there is no box.
        previous: float32 (h, w), probabilities of the mask before the latest mark, zeros for the first.
    Returns:
        float32 (PROMPT_CHANNELS, h, w).
    """
    return np.stack([*_proximities(on_object), *_proximities(beside), box.astype(np.float32), previous])


def seed_similarities(features: Tensor, on_object: BoolArray, beside: BoolArray) -> Tensor:
    """Compare each cell with the cells under the marks.

    Args:
        features: (C, h, w), of unit length over channels.
        on_object: bool (h, w).
        beside: bool (h, w).
    Returns:
        (2, h, w): the highest cosine with a cell on the object, and with one beside it; 0 where there is no such mark.
    """
    flat = features.flatten(1)
    planes = []
    for marks in (on_object, beside):
        seeds = np.flatnonzero(marks)
        if not len(seeds):
            planes.append(flat.new_zeros(flat.shape[1]))
            continue
        chosen = torch.from_numpy(seeds[:: -(-len(seeds) // MAX_SEEDS)])
        planes.append((flat[:, chosen].T @ flat).amax(dim=0))
    return torch.stack(planes).reshape(2, *features.shape[1:])


def coarser(marks: BoolArray, factor: int) -> BoolArray:
    """Mark the cells, ``factor`` times larger, that hold a marked cell."""
    height, width = (length // factor for length in marks.shape)
    blocks = marks[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return np.asarray(blocks.any(axis=(1, 3)))


def _proximities(marks: BoolArray) -> list[AnyArray]:
    if not marks.any():
        return [np.zeros(marks.shape, np.float32)] * 2
    distance = cv2.distanceTransform((~marks).astype(np.uint8), cv2.DIST_L2, 3)
    return [np.exp(-distance / NEAR_CELLS).astype(np.float32), np.exp(-distance / WIDE_CELLS).astype(np.float32)]

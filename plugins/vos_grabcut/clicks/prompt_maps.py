"""Prompts as the click decoder sees them: proximity to marks, the box, and similarity to what the marks lie on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, BoolArray, FloatArray
from vos_grabcut.clicks.network import STRIDE

NEAR_CELLS, WIDE_CELLS = 2.0, 16.0
"""Reach of the two proximities, in cells: each falls by a factor e over it."""
MAX_SEEDS = 128
"""Cells whose features are compared; of more, some at even distances are taken."""


@dataclass
class PromptCells:
    """All that is said of an object, in cells of ``STRIDE`` pixels.

    Attributes:
        on_object: bool (h, w), cells under marks on the object.
        beside: bool (h, w), cells under marks beside it.
        box: bool (h, w), cells in the box; none where there is no box.
        previous: float32 (h, w), probabilities of the mask before the latest mark, zeros for the first.
    """

    on_object: BoolArray
    beside: BoolArray
    box: BoolArray
    previous: FloatArray

    def maps(self) -> FloatArray:
        """Stack the decoder's prompts: float32 (PROMPT_CHANNELS, h, w)."""
        box = self.box.astype(np.float32)
        return np.stack([*_proximities(self.on_object), *_proximities(self.beside), box, self.previous])

    def similarities(self, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Compare each cell with those on the object, and with those beside it or outside of its box.

        Args:
            features: by stride s in 8, 16: (C, h * 4 / s, w * 4 / s).
        Returns:
            By the same strides, (2, h * 4 / s, w * 4 / s): the highest cosine with a cell on the object, and with one
            that is not the object's; 0 where no cell is known.
        """
        found = {}
        for stride in (8, 16):
            on_object, beside, box = (
                _coarser(cells, stride // STRIDE) for cells in (self.on_object, self.beside, self.box)
            )
            found[stride] = _highest_cosines(features[stride], [on_object, beside | ~box if box.any() else beside])
        return found


def _highest_cosines(features: Tensor, seeds: list[BoolArray]) -> Tensor:
    flat = F.normalize(features.flatten(1).float(), dim=0)
    planes = []
    for cells in seeds:
        places = np.flatnonzero(cells)
        if not len(places):
            planes.append(flat.new_zeros(flat.shape[1]))
            continue
        chosen = torch.from_numpy(places[:: -(-len(places) // MAX_SEEDS)])
        planes.append((flat[:, chosen].T @ flat).amax(dim=0))
    return torch.stack(planes).reshape(len(seeds), *features.shape[1:])


def _coarser(marks: BoolArray, factor: int) -> BoolArray:
    """Mark the cells, ``factor`` times larger, that hold a marked cell."""
    height, width = (length // factor for length in marks.shape)
    blocks = marks[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return np.asarray(blocks.any(axis=(1, 3)))


def _proximities(marks: BoolArray) -> list[AnyArray]:
    if not marks.any():
        return [np.zeros(marks.shape, np.float32)] * 2
    distance = cv2.distanceTransform((~marks).astype(np.uint8), cv2.DIST_L2, 3)
    return [np.exp(-distance / NEAR_CELLS).astype(np.float32), np.exp(-distance / WIDE_CELLS).astype(np.float32)]

"""Scores of the masks, and whether each object is in the frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vos.plugin import BoolArray, FloatArray

# Mean probability inside a mask, and the overlap (J) measured for masks with it on training sequences that the decoder
# has not learnt from; docs/propagation-log.md has the table.
CALIBRATION = (
    (0.0, 0.5, 0.7, 0.8, 0.86, 0.9, 0.93, 0.95, 0.985, 1.0),
    (0.0, 0.23, 0.41, 0.66, 0.8, 0.83, 0.88, 0.925, 0.94, 0.98),
)


def confidence(logits: Tensor, min_area_s8: float) -> tuple[FloatArray, BoolArray]:
    """Estimate the overlap (J) of each mask with the truth.

    Args:
        logits: (K, h4, w4), cells of 4 px.
        min_area_s8: a smaller object is absent, cells of 8 px.
    Returns:
        (K,), the expected J, 0 where the object is absent; and bool (K,), whether the object is in the frame.
    """
    prob = torch.sigmoid(logits)
    inside = prob > 0.5
    area = inside.sum((1, 2))
    mean_prob = (prob * inside).sum((1, 2)) / prob.sum((1, 2)).clamp_min(1e-6)
    present = area >= 4 * min_area_s8
    mean_prob = torch.where(present, mean_prob, torch.zeros_like(mean_prob))
    return np.interp(mean_prob.cpu().numpy(), *CALIBRATION), present.cpu().numpy()

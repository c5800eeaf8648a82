"""Scores of the masks, and whether each object is in the frame."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vos.plugin import BoolArray, FloatArray
from vos_propagation.stages.redetector import SMALLEST

# How sure the decoder is of a mask's pixels, and the overlap (J) seen with it; docs/benchmarks.md has the table.
CALIBRATION = (
    (0.0, 0.860, 0.930, 0.950, 0.970, 0.985, 1.0),
    (0.0, 0.569, 0.815, 0.872, 0.901, 0.947, 0.970),
)


def confidence(logits: Tensor) -> tuple[FloatArray, BoolArray]:
    """Score each mask.

    Args:
        logits: (K, 2 h, 2 w), cells of 4 px.
    Returns:
        (K,), the overlap (J) that masks as sure had, 0 where the object is absent; and bool (K,), whether it is there.
    """
    prob = torch.sigmoid(logits)
    inside = prob > 0.5
    area = inside.sum((1, 2))
    sure = (prob * inside).sum((1, 2)) / prob.sum((1, 2)).clamp_min(1e-6)
    present = area >= 4 * SMALLEST
    sure = torch.where(present, sure, torch.zeros_like(sure))
    return np.interp(sure.cpu().numpy(), *CALIBRATION), present.cpu().numpy()

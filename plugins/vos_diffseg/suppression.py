"""DiffSeg's third step: each pixel goes to the proposal that is highest there."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def suppress(proposals: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample proposals bilinearly and take the highest at each pixel.

    One proposal at a time, so that memory does not grow with their number.

    Args:
        proposals: (M, N) maps over a square grid, M >= 1.
        size: (H, W) of the result, pixels; the grid is stretched over it.
    Returns:
        int64 (H, W), proposal indices from 0; ties go to the lower one.
    Source: arXiv:2308.12469, section 3.4; segmentor.py:145-150 at 77ea596 (512 x 512).
    """
    side = math.isqrt(proposals.shape[1])
    planes = proposals.float().reshape(-1, 1, 1, side, side)
    labels = torch.zeros(size, dtype=torch.int64, device=proposals.device)
    best: Tensor | None = None
    for index, plane in enumerate(planes):
        values = F.interpolate(plane, size=size, mode="bilinear", align_corners=False)[0, 0]
        if best is None:
            best = values
        else:
            labels.masked_fill_(values > best, index)
            torch.maximum(best, values, out=best)
    return labels

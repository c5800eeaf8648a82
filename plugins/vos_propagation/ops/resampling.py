"""Resampling of planes by 2, memory layouts for convolutions, and operations across the objects' rows."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor


def downsample2x(planes: Tensor) -> Tensor:
    """Average 2x2 cells: float32 (V, h, w) to (V, h / 2, w / 2)."""
    if planes.device.type != "cpu":
        return F.avg_pool2d(planes, 2)
    # OpenCV takes a seventh of the time of torch.
    height, width = planes.shape[1] // 2, planes.shape[2] // 2
    means = planes.new_empty(len(planes), height, width)
    for plane, out in zip(planes.numpy(), means.numpy(), strict=True):
        cv2.resize(plane, (width, height), dst=out, interpolation=cv2.INTER_AREA)
    return means


def upsample2x(planes: Tensor) -> Tensor:
    """Upsample bilinearly by 2: (B, C, h, w) to (B, C, 2 h, 2 w)."""
    return F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)


def stack_channels_last(parts: Iterable[Tensor]) -> Tensor:
    """Stack parts (C, h, w) into (B, C, h, w) in the memory format channels last."""
    return torch.stack([part.permute(1, 2, 0) for part in parts]).permute(0, 3, 1, 2)


def max_of_others(planes: Tensor) -> Tensor:
    """Return, for each row of (K, h, w), the maximum of the other rows; 0 if K is 1."""
    if len(planes) < 2:
        return torch.zeros_like(planes)
    best = torch.empty_like(planes)
    # First the maximum of the rows after each row, then also of those before it.
    best[-2] = planes[-1]
    for row in range(len(planes) - 3, -1, -1):
        torch.maximum(best[row + 1], planes[row + 1], out=best[row])
    before = planes[0]
    for row in range(1, len(planes) - 1):
        best[row] = torch.maximum(best[row], before)
        before = torch.maximum(before, planes[row])
    best[-1] = before
    return best


def to_label_prob(prob: Tensor) -> Tensor:
    """Turn independent object probabilities (K, h, w) into label probabilities (K + 1, h, w) that sum to 1."""
    prob = prob / prob.sum(0).clamp_min(1)
    return torch.cat([(1 - prob.sum(0))[None].clamp_min(0), prob])

"""Rows of labels: background first, then one for each object."""

from __future__ import annotations

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor


def halved(labels: Tensor) -> Tensor:
    """Give the means of 2 x 2: float32 (V, h / 2, w / 2) of (V, h, w)."""
    if labels.device.type != "cpu":
        return F.avg_pool2d(labels, 2)
    # OpenCV takes a seventh of the time of torch.
    height, width = labels.shape[1] // 2, labels.shape[2] // 2
    means = labels.new_empty(len(labels), height, width)
    for plane, out in zip(labels.numpy(), means.numpy(), strict=True):
        cv2.resize(plane, (width, height), dst=out, interpolation=cv2.INTER_AREA)
    return means


def without_row(labels: Tensor, row: int) -> Tensor:
    """Drop an object's row; what it had becomes background.

    Args:
        labels: (V, h, w).
        row: from 1; row 0 is background.
    Returns:
        (V - 1, h, w).
    """
    kept = torch.cat([labels[:row], labels[row + 1 :]])
    kept[0] += labels[row]
    return kept


def with_rows(labels: Tensor, count: int) -> Tensor:
    """Add objects that have nothing yet.

    Args:
        labels: (V, h, w).
        count: of rows.
    Returns:
        (V + count, h, w).
    """
    return torch.cat([labels, labels.new_zeros(count, *labels.shape[1:])])

"""Where things went since the last frame: dense optical flow, small and fast.

Source: DIS, Kroeger et al., arXiv:1603.03590, as OpenCV has it (preset MEDIUM).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, FloatArray

# DIS refuses smaller images; nothing is carried along there.
SMALLEST_SIDE = 16


@dataclass(frozen=True)
class Motion:
    """What moved between two frames.

    Attributes:
        before: uint8 (h, w), the earlier frame, grey.
        flow: float32 (h, w, 2), from ``backward_flow``.
    """

    before: AnyArray
    flow: FloatArray


def motion_since(before: AnyArray, now: AnyArray, known: Motion | None = None) -> Motion:
    """Find what moved between two grey frames, uint8 (h, w), unless that is what is ``known``."""
    if known is not None and known.before is before:
        return known
    return Motion(before, backward_flow(now, before))


def backward_flow(now: AnyArray, before: AnyArray) -> FloatArray:
    """Find where each pixel was in the frame before.

    A new DIS object each time: one that is used again gives other results for the same images.

    Args:
        now: uint8 (h, w), grey.
        before: uint8 (h, w), grey.
    Returns:
        float32 (h, w, 2), (x, y) in pixels; zeros for images too small to tell.
    """
    if min(now.shape) < SMALLEST_SIDE:
        return np.zeros((*now.shape, 2), dtype=np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.zeros((*now.shape, 2), dtype=np.float32)
    return np.asarray(dis.calc(now, before, flow), dtype=np.float32)


def carry(planes: Tensor, flow: FloatArray) -> Tensor:
    """Warp planes of the frame before to this frame.

    Args:
        planes: float32 (K, h, w).
        flow: float32 (h, w, 2), from ``backward_flow``.
    Returns:
        float32 (K, h, w); 0 where a pixel was outside.
    """
    height, width = planes.shape[1:]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    grid = np.stack([(2 * (x + flow[..., 0]) + 1) / width - 1, (2 * (y + flow[..., 1]) + 1) / height - 1], axis=-1)
    warped: Tensor = F.grid_sample(planes[None], torch.from_numpy(grid).to(planes.device)[None], align_corners=False)[0]
    return warped

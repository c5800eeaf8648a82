"""Stage ``flow``: dense optical flow since the last frame, and the last masks warped by it.

Source: DIS, Kroeger et al., arXiv:1603.03590, the implementation of OpenCV (preset MEDIUM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, FloatArray
from vos_propagation.ops.resampling import downsample2x
from vos_propagation.stages.stage import Stage

if TYPE_CHECKING:
    from vos_propagation.frame_state import FrameState, SequenceState

# DIS refuses images with a shorter side, pixels; their flow is zero.
SMALLEST_SIDE = 16


@dataclass(frozen=True)
class Motion:
    """Optical flow between two frames.

    Attributes:
        before: uint8 (h, w), the earlier frame, grey.
        flow: float32 (h, w, 2), from ``backward_flow``.
    """

    before: AnyArray
    flow: FloatArray


def motion_between(before: AnyArray, now: AnyArray, known: Motion | None = None) -> Motion:
    """Compute the flow between two grey frames, uint8 (h, w); return ``known`` if it starts from the same frame."""
    if known is not None and known.before is before:
        return known
    return Motion(before, backward_flow(now, before))


def backward_flow(now: AnyArray, before: AnyArray) -> FloatArray:
    """Compute the optical flow from each pixel to its position in the frame before.

    Each call makes a new DIS object: a reused one gives other results for the same images.

    Args:
        now: uint8 (h, w), grey.
        before: uint8 (h, w), grey.
    Returns:
        float32 (h, w, 2), (x, y) in pixels; zeros for images that are too small for DIS.
    """
    if min(now.shape) < SMALLEST_SIDE:
        return np.zeros((*now.shape, 2), dtype=np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.zeros((*now.shape, 2), dtype=np.float32)
    return np.asarray(dis.calc(now, before, flow), dtype=np.float32)


def warp(planes: Tensor, flow: FloatArray) -> Tensor:
    """Warp planes of the frame before to this frame.

    Args:
        planes: float32 (K, h, w).
        flow: float32 (h, w, 2), from ``backward_flow``.
    Returns:
        float32 (K, h, w); 0 where a pixel was outside the frame.
    """
    height, width = planes.shape[1:]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    grid = np.stack([(2 * (x + flow[..., 0]) + 1) / width - 1, (2 * (y + flow[..., 1]) + 1) / height - 1], axis=-1)
    warped: Tensor = F.grid_sample(planes[None], torch.from_numpy(grid).to(planes.device)[None], align_corners=False)[0]
    return warped


class Flow(Stage):
    """Fills ``flow_s4``, ``warped_s4`` and ``warped_s8``."""

    name = "flow"

    def __call__(self, frame: FrameState, sequence: SequenceState) -> None:
        """Warp the last masks to this frame."""
        known = frame.features.motion
        frame.flow_s4 = motion_between(sequence.features.grey, frame.features.grey, known).flow
        frame.warped_s4 = warp(sequence.prob[1:], frame.flow_s4)
        frame.warped_s8 = downsample2x(frame.warped_s4)

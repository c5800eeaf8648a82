"""Motion cues: how each pixel moves against the camera, from optical flow to a few later or earlier frames."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vos.plugin import AnyArray, FloatArray, Image

OFFSETS = (1, 3, 8)
"""Distances of the frames to which optical flow is computed: fast objects show in near ones, slow ones in far ones."""
CUES = 5
"""Planes of one offset: the motion against the camera along x and y and its length, each relative to the frame's
strongest; its length in pixels; and by how much the flow there and back disagrees, in pixels; both bounded by tanh."""
STRIDE = 4
"""Pixels of the working image for a cell of the cues."""
GRID = 16
"""Distance of the points that the camera's motion is fitted to, pixels."""
MOST_ERROR = 1.5
"""A point moves with the camera if the homography places it within so many pixels."""
STRONGEST, LEAST_STRONGEST = 95, 0.3
"""Percentile of the lengths that counts as a frame's strongest motion, and what it is at least, pixels."""


def motion_cues(image: Image, others: Sequence[Image | None]) -> FloatArray:
    """Compute the motion cues of a frame.

    Args:
        image: uint8 (H, W, 3), RGB, sides in multiples of 4, at least 32 px each: DIS refuses less than 16.
        others: for each of ``OFFSETS`` the frame that is so far away, of the same size; None where there is none.
    Returns:
        float32 (len(OFFSETS) * CUES, H / 4, W / 4); zeros for an offset without a frame.
    """
    height, width = image.shape[:2]
    cues = np.zeros((len(OFFSETS), CUES, height // STRIDE, width // STRIDE), dtype=np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for planes, other in zip(cues, others, strict=True):
        if other is not None:
            planes[:] = _cues_between(grey, cv2.cvtColor(other, cv2.COLOR_RGB2GRAY))
    return cues.reshape(-1, *cues.shape[2:])


def _cues_between(grey: AnyArray, other: AnyArray) -> FloatArray:
    """Compute the cues of one pair of grey frames, uint8 (H, W): float32 (CUES, H / 4, W / 4)."""
    flow, back = _flow(grey, other), _flow(other, grey)
    against_camera = flow - camera_flow(flow)
    length = np.linalg.norm(against_camera, axis=2)
    strongest = max(float(np.percentile(length, STRONGEST)), LEAST_STRONGEST)
    y, x = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]].astype(np.float32)
    returned = cv2.remap(back, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    disagreement = np.linalg.norm(flow + returned, axis=2)
    relative = np.dstack([against_camera, length]) / strongest
    planes = np.dstack([np.clip(relative, -3, 3), np.tanh(length / 4), np.tanh(disagreement / 2)])
    cells = (grey.shape[1] // STRIDE, grey.shape[0] // STRIDE)
    small = cv2.resize(planes.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small.transpose(2, 0, 1))


def camera_flow(flow: FloatArray) -> FloatArray:
    """Fit a homography to most of the flow, and return the flow that it gives.

    Args:
        flow: float32 (H, W, 2), (x, y) in pixels; H and W at least 32.
    Returns:
        float32 (H, W, 2); zeros where nothing can be fitted.
    """
    height, width = flow.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    positions = np.dstack([x, y])
    some = np.s_[GRID // 2 :: GRID, GRID // 2 :: GRID]
    start = positions[some].reshape(-1, 2)
    end = start + flow[some].reshape(-1, 2)
    cv2.setRNGSeed(0)
    homography: AnyArray | None = cv2.findHomography(start, end, cv2.RANSAC, MOST_ERROR, maxIters=1000)[0]
    if homography is None:
        return np.zeros_like(flow)
    moved = cv2.perspectiveTransform(positions.reshape(-1, 1, 2), homography).reshape(height, width, 2)
    return np.asarray(moved - positions, dtype=np.float32)


def _flow(start: AnyArray, end: AnyArray) -> FloatArray:
    """Compute optical flow by DIS (Kroeger et al., arXiv:1603.03590); a reused object would give other results."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(dis.calc(start, end, np.zeros((*start.shape, 2), np.float32)), dtype=np.float32)

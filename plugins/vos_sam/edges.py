"""Edges without training, as the Segment Anything paper finds them."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vos.plugin import EmptyMaskError, FloatArray, Frame, LabelMap
from vos_sam.everything import propose
from vos_sam.model import SegmentAnything
from vos_sam.options import EdgesOptions

SMOOTHING = 1.0
"""Standard deviation, in pixels, of the blur before an edge's direction is taken."""


class EdgesInitializer:
    """``sam-edges``: thin edges, as one object with id 1."""

    def __init__(self, options: EdgesOptions, sam: SegmentAnything) -> None:
        self._options = options
        self._sam = sam

    def initialize(self, frame: Frame) -> LabelMap:
        """Mark the pixels whose edge strength reaches the threshold."""
        label_map: LabelMap = (self.edges(frame) >= self._options.threshold).astype(np.uint8)
        if not label_map.any():
            raise EmptyMaskError(f"frame {frame.name}: no edge. Lower the threshold.")
        return label_map

    @torch.inference_mode()
    def edges(self, frame: Frame) -> FloatArray:
        """Find edges.

        A 16 x 16 grid of points gives 768 masks; duplicates are removed; the Sobel magnitude of each mask's
        probability counts on the mask's outer boundary; the maximum over masks is scaled to [0, 1] and thinned.

        Args:
            frame: the frame.
        Returns:
            float32 (H, W) in [0, 1].
        Source: arXiv:2304.02643, appendix D.2 (the paper's code for it is not released).
        """
        (embedding,) = self._sam.encode([frame.image])
        found = propose(self._sam, embedding, self._options.points_per_side)
        strongest = np.zeros(frame.size, dtype=np.float32)
        kernel = np.ones((3, 3), np.uint8)
        for low_res in found.low_res_logits:
            logits = embedding.view.upsample(low_res[None])[0]
            mask = (logits > 0).cpu().numpy().astype(np.uint8)
            probability = logits.sigmoid().cpu().numpy()
            slope = np.hypot(cv2.Sobel(probability, cv2.CV_32F, 1, 0), cv2.Sobel(probability, cv2.CV_32F, 0, 1))
            boundary = cv2.dilate(mask, kernel) != cv2.erode(mask, kernel, borderValue=1)
            np.maximum(strongest, np.where(boundary, slope, 0), out=strongest)
        highest = float(strongest.max())
        return thin_edges(strongest / highest if highest else strongest)


def thin_edges(strength: FloatArray) -> FloatArray:
    """Keep an edge pixel only where it is the strongest across the edge (Canny's non-maximum suppression).

    Args:
        strength: float32 (H, W).
    Returns:
        float32 (H, W): the same, 0 elsewhere.
    """
    smooth = cv2.GaussianBlur(strength, (0, 0), SMOOTHING)
    xx, yy = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((2, 0), (0, 2)))
    xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1)
    # Across a ridge the second derivative is the most negative: its direction is the Hessian's eigenvector.
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    step_x, step_y = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    rows, columns = np.indices(strength.shape, dtype=np.float32)
    ahead = cv2.remap(smooth, columns + step_x, rows + step_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    behind = cv2.remap(smooth, columns - step_x, rows - step_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where((smooth >= ahead) & (smooth > behind), strength, np.float32(0)).astype(np.float32)

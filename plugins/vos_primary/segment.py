"""The mask of what moves or stands out in a frame, by the two networks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from vos.plugin import BoolArray, FloatArray, Image
from vos_grabcut.guided_filter import guided_filter
from vos_primary.motion import motion_cues
from vos_primary.network import PrimaryObjectNetwork
from vos_propagation.backbone.efficientnet_lite import load_efficientnet_lite
from vos_propagation.ops.shipped_weights import load_shipped_weights

WEIGHTS = Path(__file__).parent / "primary_object.pt"
SIDE, LONGEST = 384, 1024
"""Short side to which a frame is resized, and the longest side then, pixels."""
MULTIPLE = 32
"""Sides of the working image are multiples of this, pixels."""
POSSIBLE, SURE = 0.5, 0.97
"""A connected region of pixels above the first probability is found if one of them is above the second."""
SMOOTHING_RADIUS = 0.008
"""Radius of the guided filter, as a share of the frame's shorter side."""


class PrimaryObjectSegmenter:
    """The frozen backbone and the network that joins its features with motion."""

    def __init__(self) -> None:
        """Load the networks.

        Raises:
            WeightsError: a file is missing or does not fit.
        """
        self._backbone = load_efficientnet_lite().to(memory_format=torch.channels_last)
        self._network = load_shipped_weights(PrimaryObjectNetwork(), WEIGHTS)

    def segment(self, image: Image, others: Sequence[Image | None]) -> BoolArray:
        """Find what moves or stands out.

        Args:
            image: uint8 (H, W, 3), RGB.
            others: for each of ``OFFSETS`` the frame at that distance, of the same size, or None.
        Returns:
            bool (H, W).
        """
        probabilities = self.probabilities(image, others)
        radius = max(2, round(SMOOTHING_RADIUS * min(image.shape[:2])))
        mask = guided_filter(image, probabilities, radius) > POSSIBLE
        _, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        sure = np.unique(regions[mask & (probabilities > SURE)])
        return np.asarray(np.isin(regions, sure) & mask)

    @torch.inference_mode()
    def probabilities(self, image: Image, others: Sequence[Image | None]) -> FloatArray:
        """Compute each pixel's probability, float32 (H, W), from the arguments of ``segment``."""
        height, width = image.shape[:2]
        scale = min(SIDE / min(height, width), LONGEST / max(height, width))
        size_wh = [max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE) for length in (width, height)]
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC

        def resized(frame: Image) -> Image:
            return np.asarray(cv2.resize(frame, size_wh, interpolation=way), dtype=np.uint8)

        small = resized(image)
        cues = motion_cues(small, [None if other is None else resized(other) for other in others])
        levels = self._backbone(torch.from_numpy(small).permute(2, 0, 1)[None].float())
        features = {stride: levels[stride] for stride in (4, 8, 16, 32)}
        logits = self._network(features, torch.from_numpy(cues)[None])[0]
        large = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        found: FloatArray = torch.sigmoid(large)[0, 0].numpy()
        return found


@functools.lru_cache(maxsize=1)
def primary_object_segmenter() -> PrimaryObjectSegmenter:
    """The segmenter of this process, for all of its threads; it is made once."""
    return PrimaryObjectSegmenter()

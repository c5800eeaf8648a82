"""The initializer ``primary-object``."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from vos.plugin import BoolArray, EmptyMaskError, Frame, LabelMap
from vos_primary.motion import OFFSETS
from vos_primary.options import PrimaryOptions
from vos_primary.segment import primary_object_segmenter

FRAGMENT_SHARE = 0.05
"""A connected region is kept if its area is at least this share of the largest one's."""
LEAST_SHARE = 5e-4
"""Nothing is found where the largest region has a smaller share of the frame."""
MAX_OBJECTS = 254


class PrimaryObjectInitializer:
    """Finds what moves against the camera or stands out, as one object or one for each connected region."""

    neighbours = (*OFFSETS, *(-offset for offset in OFFSETS))

    def __init__(self, options: PrimaryOptions) -> None:
        """Load the networks.

        Raises:
            WeightsError: a file is missing or does not fit.
        """
        self._options = options
        self._segmenter = primary_object_segmenter()

    def initialize(self, frame: Frame) -> LabelMap:
        """Find what stands out in a frame alone; see ``vos.plugin.Initializer``."""
        return self.initialize_in_clip(frame, {})

    def initialize_in_clip(self, frame: Frame, others: Mapping[int, Frame]) -> LabelMap:
        """Find what moves or stands out; see "initializer-clip" in docs/contract.md.

        The motion is that to the frames after this one, or, where these end, to those before it.
        """
        images = [_image_at(others, offset, frame) for offset in OFFSETS]
        mask = self._segmenter.segment(frame.image, images)
        label_map = _regions(mask, self._options.separate)
        if label_map is None:
            raise EmptyMaskError(
                f"frame {frame.name}: found nothing that moves or stands out. Take another frame (`vos init "
                "--frame INDEX`, `vos track --start INDEX`), or mark the object: --box, --clicks or --mask."
            )
        return label_map


def _image_at(others: Mapping[int, Frame], offset: int, frame: Frame) -> np.ndarray | None:
    other = others.get(offset) or others.get(-offset)
    return other.image if other is not None and other.size == frame.size else None


def _regions(mask: BoolArray, separate: bool) -> LabelMap | None:
    """Make a label map of the larger connected regions, bool (H, W); None if there is none."""
    count, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas[0] = 0
    if count < 2 or areas.max() < max(1, LEAST_SHARE * mask.size):
        return None
    order = [int(i) for i in np.argsort(-areas, kind="stable") if areas[i] >= FRAGMENT_SHARE * areas.max()]
    ids = np.zeros(count, dtype=np.uint8)
    for number, region in enumerate(order[:MAX_OBJECTS], start=1):
        ids[region] = number if separate else 1
    label_map: LabelMap = ids[regions]
    return label_map

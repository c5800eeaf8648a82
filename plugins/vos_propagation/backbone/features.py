"""Features of a frame: all that depends on its image alone, computed once for all objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import AnyArray, Frame, Size
from vos_propagation.backbone.efficientnet_lite import EfficientNetLite, load_efficientnet_lite
from vos_propagation.backbone.int8_network import Int8EfficientNetLite, load_int8_network
from vos_propagation.ops.guided_filter import CELL, GuidedFilter
from vos_propagation.ops.resampling import upsample2x
from vos_propagation.stages.flow import Motion, motion_between

MULTIPLE = 32
# Small frames are enlarged, by no more than this.
ENLARGED = 4.0


@dataclass(frozen=True)
class FrameFeatures:
    """All that the stages use of a frame's image, for all objects.

    Attributes:
        cells: (152, h, w), the stride-8 and stride-16 levels, each of unit length, then together too.
        levels: (1, C, H / s, W / s) by stride s, the network's levels.
        samples: float32 (D, h * w), the target model's features.
        grey: uint8 (2 h, 2 w), for motion.
        motion: optical flow since the frame that was encoded before, mostly the preceding one; None for the first.
        edges: brings logits (2 h, 2 w) to (8 h, 8 w).
        chroma: float32 (2, h, w), a* and b* of CIELAB, mean of each cell.
        decoder_features: the levels reduced for the decoder, from ``DecoderNetwork.image_features``; None without it.
        readout: keys and what values see of the image, from ``ReadoutNetwork.keys``; None without the decoder.
        ahead: whether it was encoded while earlier frames were tracked, with half of the cores.
    """

    cells: Tensor
    levels: Mapping[int, Tensor]
    samples: Tensor
    grey: AnyArray
    motion: Motion | None
    edges: GuidedFilter
    chroma: Tensor
    decoder_features: Mapping[int, Tensor] | None = None
    readout: tuple[Tensor, Tensor] | None = None
    ahead: bool = False

    @cached_property
    def cells_s16(self) -> Tensor:
        """``cells`` at 16 px a cell: (152, h / 2, w / 2), of unit length."""
        return pool(self.cells)

    @property
    def size(self) -> Size:
        """(H, W) that the frame is worked on at, pixels."""
        return CELL * self.grey.shape[0], CELL * self.grey.shape[1]


class Encoder:
    """Encodes frames by EfficientNet-Lite0."""

    def __init__(self, device: torch.device, dtype: torch.dtype, *, int8: bool = False) -> None:
        """Load the network.

        Args:
            device: to work on.
            dtype: to work in.
            int8: use 8-bit convolutions, where ``has_int8_convolutions``; the features are of ``dtype`` all the same.
        Raises:
            WeightsError: the weights' package is missing or its file does not fit.
        """
        self._device, self._dtype = device, dtype
        self._newest: AnyArray | None = None
        self._network: EfficientNetLite | Int8EfficientNetLite
        if int8:
            self._network = load_int8_network()
        else:
            self._network = load_efficientnet_lite().to(device, dtype).to(memory_format=torch.channels_last)

    def __call__(self, frame: Frame, size: Size) -> FrameFeatures:
        """Extract the features of a frame at a working size from ``working_size``."""
        image = cv2.resize(frame.image, size[::-1], interpolation=_interpolation(frame.size[0] / size[0]))
        small = cv2.resize(image, (size[1] // CELL, size[0] // CELL), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        # Two threads may finish in the wrong order; the stage ``flow`` then computes the motion itself.
        before, self._newest = self._newest, grey
        motion = None if before is None or before.shape != grey.shape else motion_between(before, grey)
        pixels, colours = (torch.from_numpy(rgb).to(self._device).permute(2, 0, 1) for rgb in (image, small))
        features = self._network(pixels[None])
        both = joint_levels(features)
        fine = F.normalize(features[4].float(), dim=1)
        ones = both.new_full((1, 1, *both.shape[2:]), 0.3)
        # A cell's features lie side by side: planes would have to be copied apart.
        parts = [part[0].permute(1, 2, 0) for part in (both, 0.7 * F.avg_pool2d(fine, 2), ones)]
        cells = (both[0] * 0.5**0.5).to(self._dtype)
        samples = torch.cat(parts, dim=2).flatten(0, 1).T
        edges = GuidedFilter(torch.from_numpy(in_planes(image)).to(self._device), colours)
        levels = {stride: features[stride].to(self._dtype) for stride in (4, 8, 16, 32)}
        return FrameFeatures(cells, levels, samples, grey, motion, edges, chroma_s8(small).to(self._device))


def chroma_s8(small: AnyArray) -> Tensor:
    """Compute a* and b* of CIELAB, float32 (2, h, w), of an image of two by two pixels a cell, uint8 (2 h, 2 w, 3)."""
    cells = cv2.resize(small, (small.shape[1] // 2, small.shape[0] // 2), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cells.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return torch.from_numpy(lab[..., 1:]).permute(2, 0, 1)


def in_planes(image: AnyArray) -> AnyArray:
    """Lay an image, uint8 (H, W, 3), plane by plane: (3, H, W). OpenCV takes a seventh of the time of NumPy."""
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, [*planes])
    return planes


def joint_levels(features: Mapping[int, Tensor]) -> Tensor:
    """Join the levels at 8 and 16 px a cell, each of unit length: float32 (B, 152, h, w) at 8 px."""
    deep = upsample2x(F.normalize(features[16].float(), dim=1))
    return torch.cat([F.normalize(features[8].float(), dim=1), F.normalize(deep, dim=1)], dim=1)


def pool(cells: Tensor) -> Tensor:
    """Average features (C, h, w), h and w even, over 2x2 cells, and scale them to unit length."""
    # The channels of a cell are adjacent in memory. Adding rows, then columns, takes a tenth of the time of pooling.
    rows = cells.permute(1, 2, 0).float()
    rows = rows[0::2] + rows[1::2]
    return F.normalize(rows[:, 0::2] + rows[:, 1::2], dim=-1).to(cells.dtype).permute(2, 0, 1)


def working_size(size: Size, side: int) -> Size:
    """Compute the working size of a frame: short side about ``side``, multiples of 32.

    Args:
        size: (H, W) of the frame; a small one is enlarged, at most ``ENLARGED`` times.
        side: the short side wanted, pixels.
    Returns:
        (H, W), at least 32 each.
    """
    scale = min(ENLARGED, side / min(size))
    height, width = (max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE) for length in size)
    return height, width


def _interpolation(scale: float) -> int:
    """Choose OpenCV's interpolation for a reduction by a factor; near 1 the fast one is as good."""
    if scale < 1:
        return cv2.INTER_CUBIC
    return cv2.INTER_LINEAR if scale < 1.25 else cv2.INTER_AREA


def has_fast_bf16(device: torch.device) -> bool:
    """Test whether bfloat16 is the fast choice: on CUDA, and on CPUs with its instructions."""
    if device.type == "cpu":
        capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(capability and capability())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()

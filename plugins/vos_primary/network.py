"""The network of the primary object: frozen image features and motion cues to logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos_primary.motion import CUES, OFFSETS
from vos_propagation.backbone.efficientnet_lite import CHANNELS
from vos_propagation.ops.convolutions import convolution

IMAGE_CHANNELS = {4: 8, 8: 16, 16: 48, 32: 64}
"""Channels to which the features are reduced, by stride."""
MOTION_CHANNELS = {4: 16, 8: 24, 16: 32, 32: 48}
LAYER_CHANNELS = {4: 16, 8: 32, 16: 64, 32: 96}
"""Channels of the decoder's layers, by stride."""


class PrimaryObjectNetwork(nn.Module):
    """Two streams, appearance and motion, joined at each level of a U-Net's decoder.

    Source: the streams, as in MATNet (Zhou et al., arXiv:2003.04253); the decoder, U-Net (arXiv:1505.04597).
    """

    def __init__(self, dropped: float = 0.0) -> None:
        """Make the layers; of the reduced features a share of ``dropped`` is left out in training."""
        super().__init__()
        image, motion, layer = IMAGE_CHANNELS, MOTION_CHANNELS, LAYER_CHANNELS
        self.reduce = nn.ModuleDict({
            str(stride): nn.Sequential(nn.BatchNorm2d(CHANNELS[stride]), convolution(CHANNELS[stride], width, 1))
            for stride, width in image.items()
        })  # fmt: skip
        self.dropout = nn.Dropout2d(dropped)
        self.motion_4 = nn.Sequential(convolution(len(OFFSETS) * CUES, motion[4]), convolution(motion[4], motion[4]))
        self.motion_8 = convolution(motion[4], motion[8])
        self.motion_16 = convolution(motion[8], motion[16])
        self.motion_32 = convolution(motion[16], motion[32])
        self.at_32 = nn.Sequential(
            convolution(image[32] + motion[32], layer[32]),
            convolution(layer[32], layer[32], dilation=2),
            convolution(layer[32], layer[32], dilation=4),
        )
        self.whole = nn.Linear(layer[32], layer[32])
        self.at_16 = _two_convolutions(image[16] + motion[16] + layer[32], layer[16])
        self.up_16 = convolution(layer[16], layer[8], 1)
        self.at_8 = _two_convolutions(layer[8] + image[8] + motion[8], layer[8])
        self.up_8 = convolution(layer[8], layer[4], 1)
        self.at_4 = _two_convolutions(layer[4] + image[4] + motion[4], layer[4])
        self.out_16 = nn.Conv2d(layer[16], 1, 1)
        self.out_4 = nn.Conv2d(layer[4], 1, 1)

    def forward(self, features: dict[int, Tensor], motion: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits.

        Args:
            features: the backbone's levels, by stride s in 4, 8, 16, 32: (B, CHANNELS[s], H / s, W / s).
            motion: (B, len(OFFSETS) * CUES, H / 4, W / 4), from ``motion_cues``.
        Returns:
            The logits, (B, 1, H / 4, W / 4), and for deep supervision those of the 16-px level.
        """
        image = {stride: self.dropout(self.reduce[str(stride)](features[stride])) for stride in IMAGE_CHANNELS}
        motion_4 = self.motion_4(motion)
        motion_8 = self.motion_8(F.avg_pool2d(motion_4, 2))
        motion_16 = self.motion_16(F.max_pool2d(motion_8, 2))
        x = self.at_32(torch.cat([image[32], self.motion_32(F.max_pool2d(motion_16, 2))], 1))
        x = x + self.whole(x.mean(dim=(2, 3)))[:, :, None, None]
        x = self.at_16(torch.cat([image[16], motion_16, _upsample2x(x)], 1))
        logits_16 = self.out_16(x)
        x = self.at_8(torch.cat([_upsample2x(self.up_16(x)), image[8], motion_8], 1))
        x = self.at_4(torch.cat([_upsample2x(self.up_8(x)), image[4], motion_4], 1))
        return self.out_4(x), logits_16


def _two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs), convolution(outputs, outputs))


def _upsample2x(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

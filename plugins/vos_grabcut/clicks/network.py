"""The click decoder: a small convolutional network from frozen image features and prompts to one object's logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos_propagation.backbone.efficientnet_lite import CHANNELS
from vos_propagation.ops.convolutions import convolution

PROMPT_CHANNELS = 6
"""Near and wide proximity of marks on the object, the same of marks beside it, the box, the previous probabilities."""
STRIDE = 4
"""Pixels of the working image for a cell of prompts and logits."""
IMAGE_CHANNELS = {4: 16, 8: 32, 16: 64, 32: 96}
"""Channels to which the features are reduced, by stride."""
LAYER_CHANNELS = {4: 24, 8: 48, 16: 96, 32: 96}
"""Channels of the decoder's layers, by stride."""


class ClickDecoder(nn.Module):
    """A U-Net's decoder (Ronneberger et al., arXiv:1505.04597) that sees clicks and mask as RITM (arXiv:2102.06583)."""

    def __init__(self) -> None:
        super().__init__()
        image, layer = IMAGE_CHANNELS, LAYER_CHANNELS
        self.reduce = nn.ModuleDict({
            str(stride): nn.Sequential(nn.BatchNorm2d(CHANNELS[stride]), convolution(CHANNELS[stride], width, 1))
            for stride, width in image.items()
        })  # fmt: skip
        self.at_32 = nn.Sequential(
            convolution(image[32] + PROMPT_CHANNELS + 2, layer[32]), convolution(layer[32], layer[32], dilation=2)
        )
        self.whole = nn.Linear(layer[32], layer[32])
        self.at_16 = nn.Sequential(
            convolution(image[16] + PROMPT_CHANNELS + 2 + layer[32], layer[16]), convolution(layer[16], layer[16])
        )
        self.up_16 = convolution(layer[16], layer[8], 1)
        self.at_8 = nn.Sequential(
            convolution(layer[8] + image[8] + PROMPT_CHANNELS + 2, layer[8]), convolution(layer[8], layer[8])
        )
        self.up_8 = convolution(layer[8], layer[4], 1)
        self.at_4 = nn.Sequential(
            convolution(layer[4] + image[4] + PROMPT_CHANNELS, layer[4]), convolution(layer[4], layer[4])
        )
        self.out_16 = nn.Conv2d(layer[16], 1, 1)
        self.out_4 = nn.Conv2d(layer[4], 1, 1)

    def forward(self, features: dict[int, Tensor], prompts: Tensor, similarities: dict[int, Tensor]) -> Tensor:
        """Compute logits.

        Args:
            features: the backbone's levels, by stride s in 4, 8, 16, 32: (B, CHANNELS[s], H / s, W / s).
            prompts: (B, PROMPT_CHANNELS, H / 4, W / 4), from ``prompt_maps``.
            similarities: by stride s in 8, 16: (B, 2, H / s, W / s), from ``seed_similarities``.
        Returns:
            (B, 1, H / 4, W / 4).
        """
        return self.both_logits(features, prompts, similarities)[0]

    def both_logits(
        self, features: dict[int, Tensor], prompts: Tensor, similarities: dict[int, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Compute the logits, and for deep supervision those of the 16-px level, (B, 1, H / 16, W / 16)."""
        image = {stride: self.reduce[str(stride)](features[stride]) for stride in IMAGE_CHANNELS}
        prompts_8 = F.avg_pool2d(prompts, 2)
        prompts_16 = F.avg_pool2d(prompts_8, 2)
        x = self.at_32(torch.cat([image[32], F.avg_pool2d(prompts_16, 2), F.avg_pool2d(similarities[16], 2)], 1))
        x = x + self.whole(x.mean(dim=(2, 3)))[:, :, None, None]
        x = self.at_16(torch.cat([image[16], prompts_16, similarities[16], _enlarged(x)], 1))
        logits_16 = self.out_16(x)
        x = self.at_8(torch.cat([_enlarged(self.up_16(x)), image[8], prompts_8, similarities[8]], 1))
        x = self.at_4(torch.cat([_enlarged(self.up_8(x)), image[4], prompts], 1))
        return self.out_4(x), logits_16


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

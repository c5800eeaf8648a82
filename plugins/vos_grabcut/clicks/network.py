"""The click decoder: a small convolutional network from frozen image features and prompts to one object's logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURE_CHANNELS = {4: 24, 8: 40, 16: 112}
"""Channels of EfficientNet-Lite0's levels, by stride."""
PROMPT_CHANNELS = 6
"""Near and wide proximity of marks on the object, the same of marks beside it, the box, the previous probabilities."""
STRIDE = 4
"""Pixels of the working image for a cell of prompts and logits."""


class ResidualBlock(nn.Module):
    """Depthwise convolution, pointwise, and the identity beside them."""

    def __init__(self, channels: int, kernel: int = 5) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        refined: Tensor = x + self.pointwise(F.relu(self.norm(self.depthwise(x))))
        return refined


class ClickDecoder(nn.Module):
    """An encoder-decoder over strides 4 to 64 (as RITM, Sofiiuk et al., arXiv:2102.06583, feeds clicks and mask)."""

    def __init__(self, width: int = 64, deep_width: int = 96, middle_width: int = 40, fine_width: int = 24) -> None:
        super().__init__()
        self.reduce16 = nn.Conv2d(FEATURE_CHANNELS[16], 48, 1)
        self.reduce8 = nn.Conv2d(FEATURE_CHANNELS[8], 24, 1)
        self.reduce4 = nn.Conv2d(FEATURE_CHANNELS[4], 12, 1)
        self.enter16 = nn.Sequential(nn.Conv2d(48 + PROMPT_CHANNELS + 2, width, 3, padding=1), ResidualBlock(width))
        self.down32 = nn.Sequential(
            nn.Conv2d(width, deep_width, 2, stride=2), ResidualBlock(deep_width), ResidualBlock(deep_width)
        )
        self.down64 = nn.Sequential(
            nn.Conv2d(deep_width, deep_width, 2, stride=2), ResidualBlock(deep_width), ResidualBlock(deep_width)
        )
        self.whole = nn.Linear(deep_width, deep_width)
        self.up32 = nn.Sequential(ResidualBlock(deep_width), nn.Conv2d(deep_width, width, 1))
        self.up16 = nn.Sequential(ResidualBlock(width), nn.Conv2d(width, middle_width, 1))
        self.enter8 = nn.Sequential(
            nn.Conv2d(middle_width + 24 + PROMPT_CHANNELS + 2, middle_width, 1),
            ResidualBlock(middle_width),
            ResidualBlock(middle_width),
            nn.Conv2d(middle_width, fine_width, 1),
        )
        self.enter4 = nn.Sequential(
            nn.Conv2d(fine_width + 12 + PROMPT_CHANNELS, fine_width, 1),
            ResidualBlock(fine_width, 3),
            nn.ReLU(),
            nn.Conv2d(fine_width, 1, 1),
        )

    def forward(self, features: dict[int, Tensor], prompts: Tensor, similarities: dict[int, Tensor]) -> Tensor:
        """Compute logits.

        Args:
            features: by stride s in 4, 8, 16: (B, FEATURE_CHANNELS[s], H / s, W / s), of unit length over channels.
            prompts: (B, PROMPT_CHANNELS, H / 4, W / 4), from ``prompt_maps``.
            similarities: by stride s in 8, 16: (B, 2, H / s, W / s), from ``seed_similarities``.
        Returns:
            (B, 1, H / 4, W / 4).
        """
        prompts8 = F.avg_pool2d(prompts, 2)
        prompts16 = F.avg_pool2d(prompts8, 2)
        at16 = self.enter16(torch.cat([self.reduce16(features[16]), prompts16, similarities[16]], dim=1))
        at32 = self.down32(at16)
        at64 = self.down64(at32)
        at64 = at64 + self.whole(at64.mean(dim=(2, 3)))[:, :, None, None]
        at16 = at16 + _resized(self.up32(at32 + _resized(at64, at32)), at16)
        at8 = _resized(self.up16(at16), prompts8)
        at8 = self.enter8(torch.cat([at8, self.reduce8(features[8]), prompts8, similarities[8]], dim=1))
        at4 = torch.cat([_resized(at8, prompts), self.reduce4(features[4]), prompts], dim=1)
        logits: Tensor = self.enter4(at4)
        return logits


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)

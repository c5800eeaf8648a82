"""The memory readout: what the memory frames say about each cell of the frame, by learned keys and values.

Source: STM (Oh et al., arXiv:1904.00607) and STCN (Cheng et al., arXiv:2106.05210): keys depend on the image alone,
values also on the masks. Cells at a near place of the object count for more, as in KMN (Seong et al.,
arXiv:2007.08270); here places are measured from the object's centre, so that they follow the object. All grids are of
16 px a cell.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vos_propagation.backbone.efficientnet_lite import CHANNELS
from vos_propagation.ops.convolutions import convolution

KEY, VALUE, IMAGE = 64, 64, 64
# Planes of the masks that a value depends on: the object's 16 cells of 4 px, and the mean of all other objects.
MASKS = 17
# Keys are of unit length: what their similarity counts for, and a squared cell of distance, before training.
SHARPNESS, NEARNESS = 20.0, 0.002
# Cells that read at a time, so that their similarities stay in the processor's cache, and cells of memory: numbers are
# filled up to a multiple of these, since oneDNN keeps code and buffers for each shape that it has seen.
QUERIES, MEMORY = 128, 256
# The similarity of cells that do not count.
LOWEST = -1e4


class ReadoutNetwork(nn.Module):
    """Makes keys and values, and reads."""

    def __init__(self, hidden: int) -> None:
        """Make the network; values are made by a layer of ``hidden`` channels."""
        super().__init__()
        channels = CHANNELS[16] + CHANNELS[8]
        self.key = nn.Sequential(nn.BatchNorm2d(channels), nn.Conv2d(channels, KEY, 1))
        self.image = nn.Sequential(nn.BatchNorm2d(channels), convolution(channels, IMAGE, 1))
        self.value = nn.Sequential(convolution(IMAGE + MASKS, hidden), convolution(hidden, VALUE))
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS).log())
        self.nearness = nn.Parameter(torch.tensor(NEARNESS).log())

    def keys(self, level_16: Tensor, level_8: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what depends on the image alone.

        Args:
            level_16: (B, 112, h16, w16), the backbone's level at 16 px.
            level_8: (B, 40, 2 h16, 2 w16), that at 8 px.
        Returns:
            The keys, (B, 64, h16, w16) of unit length, and what the values see of the image, (B, 64, h16, w16).
        """
        levels = torch.cat([level_16, F.avg_pool2d(level_8, 2)], 1)
        return F.normalize(self.key(levels), dim=1), self.image(levels)

    def values(self, image: Tensor, own: Tensor, others: Tensor) -> Tensor:
        """Compute values.

        Args:
            image: (B, 64, h16, w16), from ``keys``.
            own: (B, 1, h4, w4), the object's mask in 0..1.
            others: (B, 1, h4, w4), that of all other objects together.
        Returns:
            (B, 64, h16, w16).
        """
        values: Tensor = self.value(torch.cat([image, 2 * F.pixel_unshuffle(own, 4) - 1, F.avg_pool2d(others, 4)], 1))
        return values

    def read(
        self,
        keys: Tensor,
        places: Tensor,
        memory_keys: Tensor,
        memory_places: Tensor,
        values: Tensor,
        left_out: Tensor | None = None,
    ) -> Tensor:
        """Average the values by the similarity of keys and the nearness of places.

        Args:
            keys: (B, 64, N), of the cells of the frame.
            places: float32 (B, 2, N), their (y, x) from the centre of the object's warped mask, cells.
            memory_keys: (B, 64, M).
            memory_places: float32 (B, 2, M), from the centre of the object's mask in the memory frame.
            values: (B, M, 64).
            left_out: bool (B, M), cells of the memory that do not count; None for no cell.
        Returns:
            (B, 64, N).
        """
        sharpness, nearness = self.sharpness.exp().float(), self.nearness.exp().float()
        # -nearness * |place - memory_place|^2 as a product; the square of the place is the same for all memory cells.
        query = torch.cat([sharpness * keys, 2 * nearness * places, torch.ones_like(places[:, :1])], 1)
        squares = -nearness * memory_places.square().sum(1, keepdim=True)
        if left_out is not None:
            squares = squares.masked_fill(left_out[:, None], LOWEST)
        count = query.shape[2]
        further_queries, further_cells = -count % QUERIES, -squares.shape[2] % MEMORY
        query = F.pad(query, (0, further_queries)).transpose(1, 2).to(keys.dtype)
        key = F.pad(torch.cat([memory_keys.float(), memory_places], 1), (0, further_cells))
        key = torch.cat([key, F.pad(squares, (0, further_cells), value=LOWEST)], 1).to(keys.dtype)
        values = F.pad(values, (0, 0, 0, further_cells))
        read = [torch.softmax(part @ key, 2).to(values.dtype) @ values for part in torch.split(query, QUERIES, 1)]
        return torch.cat(read, 1)[:, :count].transpose(1, 2)

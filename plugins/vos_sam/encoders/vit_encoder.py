"""The image encoder's forward pass, exact to Segment Anything's and cheaper.

Nothing here changes the result but for rounding. Padded cells of a window are constants (their query, key and value
are the layer's biases), so neither projection runs on them. Cells of the frame's own padding are the same for every
frame as long as no window holds a cell of the frame, so the first windowed blocks compute them once. Blocks run in
chunks whose activations stay in the processor's cache. In half precision the weights are converted once; the residual
stream and the norms stay float32.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vos.plugin import Size
from vos_sam.encoders.vit_attention import GlobalAttention, Linear, WindowAttention

CELLS_PER_CHUNK = 1024
"""Cells that pass an MLP, or whole windows that pass a block, together on a processor; on other devices all do."""


class VitEncoder:
    """Runs an ``ImageEncoderViT`` with its own weights; any thread may call it."""

    def __init__(self, encoder: Any, dtype: torch.dtype = torch.float32) -> None:
        """Prepare the weights.

        Args:
            encoder: a ``segment_anything.modeling.ImageEncoderViT`` in eval mode, on its device.
            dtype: arithmetic of the matrix products; float32 is the reference.
        """
        self._encoder = encoder
        self._cell = int(encoder.patch_embed.proj.stride[0])
        grid = encoder.img_size // self._cell
        self._blocks = [_Block(block, grid, dtype) for block in encoder.blocks]
        self._windowed = next((i for i, block in enumerate(self._blocks) if not block.window), len(self._blocks))
        """How many blocks run before the first one with global attention."""
        self._blank: list[Tensor] | None = None

    def __call__(self, images: Tensor, size: Size | None = None) -> Tensor:
        """Encode images.

        Args:
            images: float32 (B, 3, S, S), normalised and padded with zeros.
            size: (H, W) that holds what is not padding; one of the two is S. None if there may be no padding.
        Returns:
            float32 (B, C, h, w).
        Source: segment_anything/modeling/image_encoder.py:107-117 at dca509f.
        """
        x = self._windowed_blocks(images, size or (images.shape[-2], images.shape[-1]))[-1]
        for block in self._blocks[self._windowed :]:
            x = block(x)
        features: Tensor = self._encoder.neck(x.permute(0, 3, 1, 2))
        return features

    def _windowed_blocks(self, images: Tensor, size: Size) -> list[Tensor]:
        """Embed patches and run the blocks before the first global attention: (B, h, w, C) before and after each."""
        side = images.shape[-1]
        axis, reach = (1, size[0]) if size[1] == side else (2, size[1])
        blank: list[Tensor] = []
        if reach < side:
            if self._blank is None:
                self._blank = self._windowed_blocks(torch.zeros_like(images[:1]), (side, side))
            blank = self._blank
        reach = -(-reach // self._cell)
        x = self._encoder.patch_embed(images)
        if self._encoder.pos_embed is not None:
            x = x + self._encoder.pos_embed
        outputs = [x]
        for index, block in enumerate(self._blocks[: self._windowed]):
            reach = min(math.ceil(reach / block.window) * block.window, x.shape[axis])
            x = block(x.narrow(axis, 0, reach), axis)
            if blank:
                rest = blank[index + 1].narrow(axis, reach, outputs[0].shape[axis] - reach)
                x = torch.cat([x, rest.expand(len(x), -1, -1, -1)], dim=axis)
            outputs.append(x)
        return outputs


class _Block:
    """One transformer block: windowed or global attention, then an MLP."""

    def __init__(self, block: Any, grid: int, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._norm1: nn.LayerNorm = block.norm1
        self._norm2: nn.LayerNorm = block.norm2
        self.window: int = block.window_size
        """Side of a window, cells; 0 for global attention."""
        self._attention: WindowAttention | GlobalAttention = (
            WindowAttention(block.attn, self.window, dtype) if self.window else GlobalAttention(block.attn, grid, dtype)
        )
        self._fc1 = Linear(block.mlp.lin1, dtype)
        self._fc2 = Linear(block.mlp.lin2, dtype)
        self._act: nn.Module = block.mlp.act

    def __call__(self, x: Tensor, axis: int = 1) -> Tensor:
        """float32 (B, h, w, C) in and out; chunks are cut along ``axis``."""
        if not self.window:
            x = self._attend(x)
        parts = torch.split(x, self._chunk(x, axis), dim=axis)
        if self.window:
            parts = tuple(self._attend(part) for part in parts)
        return torch.cat([part + self._mlp(self._norm2(part).to(self._dtype)) for part in parts], dim=axis)

    def _chunk(self, x: Tensor, axis: int) -> int:
        """Return the number of rows or columns of (B, h, w, C) in a chunk: of whole windows, if there are windows."""
        size = x.shape[axis]
        if x.device.type != "cpu":
            return size
        held = max(CELLS_PER_CHUNK * size // x[..., 0].numel(), 1)
        return max(held // self.window, 1) * self.window if self.window else held

    def _attend(self, x: Tensor) -> Tensor:
        attended: Tensor = x + self._attention(self._norm1(x).to(self._dtype))
        return attended

    def _mlp(self, x: Tensor) -> Tensor:
        hidden: Tensor = self._fc2(self._act(self._fc1(x)))
        return hidden

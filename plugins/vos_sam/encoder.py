"""The image encoder's forward pass, exact to Segment Anything's and cheaper.

Three things are computed once instead of several times, none changes the result: padded cells of a window are
constants (their query, key and value are the layer's biases), so neither projection runs on them; relative
positions are added block by block where the scores lie in the processor's cache; and in half precision the weights
are converted once. The residual stream and the norms stay float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUERIES_PER_BLOCK = 512
"""Queries per block of global attention: 512 x 4096 float32 are 8 MiB."""


@dataclass(frozen=True)
class _Linear:
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class VitEncoder:
    """Runs an ``ImageEncoderViT`` with its own weights."""

    def __init__(self, encoder: Any, dtype: torch.dtype = torch.float32) -> None:
        """Prepare the weights.

        Args:
            encoder: a ``segment_anything.modeling.ImageEncoderViT`` in eval mode, on its device.
            dtype: arithmetic of the matrix products; float32 is the reference.
        """
        self._encoder = encoder
        self._dtype = dtype
        self._blocks = [_Block(block, dtype) for block in encoder.blocks]

    def __call__(self, images: Tensor) -> Tensor:
        """Encode images.

        Args:
            images: float32 (B, 3, S, S), normalised and padded.
        Returns:
            float32 (B, C, h, w).
        Source: segment_anything/modeling/image_encoder.py:107-117 at dca509f.
        """
        x = self._encoder.patch_embed(images)
        if self._encoder.pos_embed is not None:
            x = x + self._encoder.pos_embed
        for block in self._blocks:
            x = block(x)
        features: Tensor = self._encoder.neck(x.permute(0, 3, 1, 2))
        return features


class _Block:
    """One transformer block: windowed or global attention, then an MLP."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._norm1: nn.LayerNorm = block.norm1
        self._norm2: nn.LayerNorm = block.norm2
        attention = block.attn
        self._heads: int = attention.num_heads
        self._scale: float = attention.scale
        self._window: int = block.window_size
        self._qkv = self._linear(attention.qkv)
        self._proj = self._linear(attention.proj)
        self._fc1 = self._linear(block.mlp.lin1)
        self._fc2 = self._linear(block.mlp.lin2)
        self._act: nn.Module = block.mlp.act
        self._relative = None
        if attention.use_rel_pos:
            self._relative = (_relative_table(attention.rel_pos_h, dtype), _relative_table(attention.rel_pos_w, dtype))

    def _linear(self, linear: nn.Linear) -> _Linear:
        bias = None if linear.bias is None else linear.bias.detach().to(self._dtype)
        return _Linear(linear.weight.detach().to(self._dtype), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """float32 (B, h, w, C) in and out."""
        normed = self._norm1(x).to(self._dtype)
        attended = self._windowed(normed) if self._window else self._global(normed)
        x = x + attended
        hidden = self._act(self._fc1(self._norm2(x).to(self._dtype)))
        return x + self._fc2(hidden)

    def _global(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        qkv = self._qkv(x).view(batch, height * width, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        out = torch.empty(batch, height * width, self._heads, query.shape[-1], dtype=x.dtype, device=x.device)
        rows = max(1, QUERIES_PER_BLOCK // width)
        for image in range(batch):
            for head in range(self._heads):
                for top in range(0, height, rows):
                    part = slice(top * width, min(top + rows, height) * width)
                    q = query[image, head, part]
                    bias = self._bias(q.view(1, -1, width, q.shape[-1]), height, width, top)
                    mask = None if bias is None else bias.view(1, 1, len(q), -1)
                    attended = F.scaled_dot_product_attention(
                        q[None, None],
                        key[image, head][None, None],
                        value[image, head][None, None],
                        attn_mask=mask,
                        scale=self._scale,
                    )
                    out[image, part, head] = attended[0, 0]
        return self._proj(out.view(batch, height, width, channels))

    def _windowed(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        size = self._window
        down, across = math.ceil(height / size), math.ceil(width / size)
        qkv = self._qkv(x)
        if (down * size, across * size) != (height, width):
            # The reference pads after the norm, so a padded cell's query, key and value are the biases.
            padded = qkv.new_zeros(batch, down * size, across * size, 3 * channels)
            if self._qkv.bias is not None:
                padded += self._qkv.bias
            padded[:, :height, :width] = qkv
            qkv = padded
        windows = qkv.view(batch, down, size, across, size, 3, self._heads, -1)
        windows = windows.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(
            3, batch * down * across, self._heads, size * size, -1
        )
        query, key, value = windows.unbind(0)
        bias = self._bias(query.reshape(-1, size, size, query.shape[-1]), size, size, 0)
        mask = None if bias is None else bias.view(*query.shape[:3], -1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self._scale)
        attended = attended.view(batch, down, across, self._heads, size, size, -1).permute(0, 1, 4, 2, 5, 3, 6)
        attended = attended.reshape(batch, down * size, across * size, channels)[:, :height, :width]
        return self._proj(attended)

    def _bias(self, query: Tensor, height: int, width: int, top: int) -> Tensor | None:
        """Decomposed relative positions: the bias added to these queries' attention scores.

        Args:
            query: (N, rows, w, c): some rows of queries, unscaled.
            height: rows of keys.
            width: columns of keys.
            top: the first of the query rows.
        Returns:
            (N, rows, w, height, width), or None if the model has none.
        Source: segment_anything/modeling/image_encoder.py:325-358 at dca509f.
        """
        if self._relative is None:
            return None
        down, across = self._relative
        rows = query.shape[1]
        by_row = query @ _for_positions(down, height)[top : top + rows].transpose(1, 2)
        by_column = (query.transpose(1, 2) @ _for_positions(across, width).transpose(1, 2)).transpose(1, 2)
        return by_row[..., :, None] + by_column.contiguous()[..., None, :]


def _relative_table(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    return parameter.detach().to(dtype)


def _for_positions(table: Tensor, count: int) -> Tensor:
    """(2n - 1, c) embeddings of distances to (n, n, c) of query and key positions."""
    if table.shape[0] != 2 * count - 1:
        resized = F.interpolate(table.float().T[None], size=2 * count - 1, mode="linear")
        table = resized[0].T.to(table.dtype)
    positions = torch.arange(count, device=table.device)
    return table[positions[:, None] - positions[None, :] + count - 1]

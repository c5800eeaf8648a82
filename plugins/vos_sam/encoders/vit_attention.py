"""The image encoder's attention: over the whole grid, or in windows, with decomposed relative positions."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUERIES_PER_BLOCK = 128
"""Queries of global attention whose scores are computed together on a processor: 128 x 4096 float32 are 2 MiB."""


class Linear:
    """A linear layer with its weights in another precision."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        """Convert the weights."""
        self.weight: Tensor = linear.weight.detach().to(dtype)
        self.bias: Tensor | None = None if linear.bias is None else linear.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C')."""
        return F.linear(x, self.weight, self.bias)


class RelativePositions:
    """Decomposed relative positions: a bias for each row and each column of keys, added to attention scores."""

    def __init__(self, attention: Any, side: int, dtype: torch.dtype) -> None:
        """Spread the tables of distances over pairs of positions.

        Args:
            attention: a ``segment_anything.modeling.image_encoder.Attention``.
            side: rows and columns of queries and keys.
            dtype: of the bias.
        """
        self._tables: tuple[Tensor, Tensor] | None = None
        if attention.use_rel_pos:
            down, across = (
                _for_positions(table.detach().to(dtype), side).transpose(1, 2).contiguous()
                for table in (attention.rel_pos_h, attention.rel_pos_w)
            )
            self._tables = down, across

    def __call__(self, query: Tensor) -> tuple[Tensor, Tensor] | None:
        """Compute both parts of the bias.

        Args:
            query: (N, n, n, c), unscaled.
        Returns:
            (N, n, n, n) for rows of keys, and as much for columns; None if the model has no relative positions.
        Source: segment_anything/modeling/image_encoder.py:325-358 at dca509f.
        """
        if self._tables is None:
            return None
        down, across = self._tables
        by_column = (query.transpose(1, 2) @ across).transpose(1, 2)
        return query @ down, by_column.contiguous()


class GlobalAttention:
    """Attention over the whole grid, one head at a time."""

    def __init__(self, attention: Any, grid: int, dtype: torch.dtype) -> None:
        """Prepare the weights; ``grid`` is the grid's side."""
        self._heads: int = attention.num_heads
        self._scale: float = attention.scale
        self._qkv = Linear(attention.qkv, dtype)
        self._proj = Linear(attention.proj, dtype)
        self._relative = RelativePositions(attention, grid, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, n, n, C) in and out."""
        batch, side, _, channels = x.shape
        attend = _attend_in_blocks if x.device.type == "cpu" and x.dtype == torch.float32 else _attend_fused
        out = x.new_empty(batch, side * side, self._heads, channels // self._heads)
        for image, cells in enumerate(x.flatten(1, 2)):
            for head in range(self._heads):
                query, key, value = self._project(cells, head)
                relative = self._relative(query.view(1, side, side, -1))
                out[image, :, head] = attend(query, key, value, relative, self._scale)
        return self._proj(out.view(batch, side, side, channels))

    def _project(self, cells: Tensor, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of one head, (n * n, c) each: those of all heads would not fit the cache."""
        weight = self._qkv.weight.view(3, self._heads, -1, cells.shape[-1])[:, head].flatten(0, 1)
        bias = self._qkv.bias
        if bias is not None:
            bias = bias.view(3, self._heads, -1)[:, head].flatten()
        query, key, value = F.linear(cells, weight, bias).view(len(cells), 3, -1).unbind(1)
        return query.contiguous(), key, value


Relative = tuple[Tensor, Tensor] | None


def _attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, relative: Relative, scale: float) -> Tensor:
    """Attend with a block of queries at a time, whose scores stay in the processor's cache.

    Args:
        query: (n * n, c).
        key: as ``query``.
        value: as ``query``.
        relative: both parts of the bias, (1, n, n, n) each, or None.
        scale: of the scores, without the bias.
    Returns:
        (n * n, c).
    """
    count = len(query)
    side = math.isqrt(count)
    rows = max(QUERIES_PER_BLOCK // side, 1)
    query, columns = query * scale, key.T.contiguous()
    out = torch.empty_like(query)
    buffer = query.new_empty(rows * side, count)
    for top in range(0, side, rows):
        part = slice(top * side, min(top + rows, side) * side)
        scores = buffer[: part.stop - part.start]
        if relative is None:
            torch.mm(query[part], columns, out=scores)
        else:
            by_row, by_column = (bias[0, top : top + rows] for bias in relative)
            torch.add(by_row[..., None], by_column[..., None, :], out=scores.view(-1, side, side, side))
            scores.addmm_(query[part], columns)
        torch.mm(torch.softmax(scores, dim=-1, out=scores), value, out=out[part])
    return out


def _attend_fused(query: Tensor, key: Tensor, value: Tensor, relative: Relative, scale: float) -> Tensor:
    """Attend by PyTorch's fused kernel; arguments as in ``_attend_in_blocks``."""
    mask = None if relative is None else _sum(relative).view(1, 1, len(query), -1)
    query, key, value = (part[None, None] for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)[0, 0]


def _sum(relative: tuple[Tensor, Tensor]) -> Tensor:
    by_row, by_column = relative
    return by_row[..., :, None] + by_column[..., None, :]


class WindowAttention:
    """Attention in windows; the last ones are padded."""

    def __init__(self, attention: Any, window: int, dtype: torch.dtype) -> None:
        """Prepare the weights; ``window`` is a window's side."""
        self._heads: int = attention.num_heads
        self._scale: float = attention.scale
        self._window = window
        self._qkv = Linear(attention.qkv, dtype)
        self._proj = Linear(attention.proj, dtype)
        self._relative = RelativePositions(attention, window, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, h, w, C) in and out."""
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
        relative = self._relative(query.reshape(-1, size, size, query.shape[-1]))
        mask = None if relative is None else _sum(relative).view(*query.shape[:3], -1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self._scale)
        attended = attended.view(batch, down, across, self._heads, size, size, -1).permute(0, 1, 4, 2, 5, 3, 6)
        attended = attended.reshape(batch, down * size, across * size, channels)[:, :height, :width]
        return self._proj(attended)


def _for_positions(table: Tensor, count: int) -> Tensor:
    """(2n - 1, c) embeddings of distances to (n, n, c) of query and key positions."""
    if table.shape[0] != 2 * count - 1:
        resized = F.interpolate(table.float().T[None], size=2 * count - 1, mode="linear")
        table = resized[0].T.to(table.dtype)
    positions = torch.arange(count, device=table.device)
    return table[positions[:, None] - positions[None, :] + count - 1]

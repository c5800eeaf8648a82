"""Label propagation: cells of a frame take the labels of the most similar cells seen before.

Source: the protocol of CRW (Jabri et al., arXiv:2006.14613) and DINO (Caron et al.,
arXiv:2104.14294): the top-k cells within a local window vote, weighted by a softmax.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 8


def local_votes(
    query: Tensor, keys: Tensor, values: Tensor, radius: int, topk: int = 7, temperature: float = 0.07
) -> Tensor:
    """Let the most similar cells of the context, near the same place, vote.

    The window is computed for tiles of 8 x 8 cells at a time, as one batched matrix product a frame.

    Args:
        query: float (C, h, w), unit length over C.
        keys: float (T, C, h, w), the context's features, unit length over C.
        values: float (T, K, h, w), the context's labels.
        radius: the window reaches this many cells up, down, left and right.
        topk: how many cells vote.
        temperature: of the softmax over the votes.
    Returns:
        float32 (K, h, w): the weighted mean of the values.
    """
    channels, height, width = query.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    bottom, right = rows * TILE - height, columns * TILE - width
    tiles = F.pad(query, (0, right, 0, bottom)).reshape(channels, rows, TILE, columns, TILE)
    tiles = tiles.permute(1, 3, 2, 4, 0).reshape(rows * columns, TILE * TILE, channels)
    outside = _outside(height, width, rows, columns, radius, query.device)
    best_similarity, best_value = [], []
    for key, value in zip(keys, values, strict=True):
        similarity = tiles @ _windows(key, rows, columns, radius)
        similarity.masked_fill_(outside, -torch.inf)
        top, index = similarity.topk(min(topk, similarity.shape[-1]), dim=-1)
        window = _windows(value, rows, columns, radius)
        picked = window[:, :, None].expand(-1, -1, TILE * TILE, -1).gather(3, _each(index, len(value)))
        best_similarity.append(top.float())
        best_value.append(picked.float())
    top, order = torch.cat(best_similarity, dim=-1).topk(topk, dim=-1)
    weight = torch.softmax(top / temperature, dim=-1)
    picked = torch.cat(best_value, dim=-1).gather(3, _each(order, values.shape[1]))
    votes = (picked * weight[:, None]).sum(dim=-1)
    votes = votes.reshape(rows, columns, -1, TILE, TILE).permute(2, 0, 3, 1, 4)
    return votes.reshape(-1, rows * TILE, columns * TILE)[:, :height, :width]


def _each(index: Tensor, count: int) -> Tensor:
    return index[:, None].expand(-1, count, -1, -1)


def _windows(plane: Tensor, rows: int, columns: int, radius: int) -> Tensor:
    """Cut (C, h, w) into a window around each tile: (rows * columns, C, S * S), S = TILE + 2 radius."""
    _, height, width = plane.shape
    right, bottom = columns * TILE - width, rows * TILE - height
    padded = F.pad(plane, (radius, radius + right, radius, radius + bottom))
    side = TILE + 2 * radius
    windows = padded.unfold(1, side, TILE).unfold(2, side, TILE)
    return windows.permute(1, 2, 0, 3, 4).reshape(rows * columns, len(plane), side * side)


def _outside(height: int, width: int, rows: int, columns: int, radius: int, device: torch.device) -> Tensor:
    """Tell which cells of a tile's window are no neighbours: (rows * columns, TILE**2, S**2) bool."""
    side = TILE + 2 * radius
    here = torch.arange(TILE, device=device)
    there = torch.arange(side, device=device)
    far = (there[None] - radius - here[:, None]).abs() > radius
    far = (far[:, None, :, None] | far[None, :, None, :]).reshape(TILE * TILE, side * side)
    y = torch.arange(rows, device=device)[:, None] * TILE + there - radius
    x = torch.arange(columns, device=device)[:, None] * TILE + there - radius
    off_y, off_x = (y < 0) | (y >= height), (x < 0) | (x >= width)
    off = (off_y[:, None, :, None] | off_x[None, :, None, :]).reshape(rows * columns, 1, side * side)
    return far[None] | off

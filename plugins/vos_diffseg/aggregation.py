"""DiffSeg's first step: self-attention maps of several resolutions become one distribution a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resolution_weights(sides: Sequence[int]) -> list[float]:
    """Weigh each resolution in proportion to its side, as the paper does.

    Args:
        sides: side of each attention grid, in cells.
    Returns:
        Weights that sum to 1, in the order of ``sides``.
    Source: arXiv:2308.12469, section 3.2; segmentor.py:32-38 at 77ea596.
    """
    return [side / sum(sides) for side in sides]


def aggregate(attentions: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """Resize self-attention maps to the finest resolution and average them.

    A row of ``attention`` says where a cell looks. The row is upsampled bilinearly to the finest grid
    (half-pixel centres), divided by its sum, and taken by every fine cell inside the coarse one.

    Args:
        attentions: one tensor a resolution, (n, n) or (heads, n, n) with n = side * side, rows over
            the softmax's axis -1; cells row by row. Each side divides the next larger one.
        weights: one for each tensor; None weighs by ``resolution_weights``.
    Returns:
        float32 (N, N), N = S * S for the largest side S: row ``i * S + j`` is the distribution of
        cell (i, j); it sums to the sum of the weights.
    Raises:
        ValueError: no attention, one that is not square, sides that do not divide, or as many
            weights as there are not attentions.
    Source: arXiv:2308.12469, equations 1 to 3; segmentor.py:40-64 at 77ea596, which repeats every
        map to the finest grid in float64 before it adds: we add from coarse to fine, in float32.
    """
    sides = [_side(attention) for attention in attentions]
    if not sides:
        raise ValueError("no attention to aggregate")
    chosen = resolution_weights(sides) if weights is None else weights
    if len(chosen) != len(sides):
        raise ValueError(f"{len(chosen)} weights for {len(sides)} attention maps (sides {sides})")
    finest = max(sides)
    total: Tensor | None = None
    total_side = 0
    for index in sorted(range(len(sides)), key=sides.__getitem__):
        side, attention = sides[index], attentions[index]
        maps = attention.mean(0, dtype=torch.float32) if attention.ndim == 3 else attention.float()
        if side != finest:
            grid = maps.reshape(-1, 1, side, side)
            maps = F.interpolate(grid, size=(finest, finest), mode="bilinear", align_corners=False).flatten(1)
        elif attention.ndim == 2:
            maps = maps.clone()
        maps *= chosen[index] / maps.sum(dim=1, keepdim=True)
        if total is not None:
            if side % total_side:
                raise ValueError(f"attention sides {sorted(sides)} do not divide one another")
            _add_repeated(maps, side, total, total_side)
        total, total_side = maps, side
    assert total is not None, "there is at least one attention"
    return total


def _side(attention: Tensor) -> int:
    rows, columns = attention.shape[-2:]
    side = math.isqrt(rows)
    if attention.ndim not in (2, 3) or rows != columns or side * side != rows:
        raise ValueError(f"attention is {tuple(attention.shape)}, expected (heads, n, n) or (n, n) with n a square")
    return side


def _add_repeated(fine: Tensor, side: int, coarse: Tensor, coarse_side: int) -> None:
    """Add each coarse cell's row to the rows of the fine cells inside it, in place."""
    factor = side // coarse_side
    fine.view(coarse_side, factor, coarse_side, factor, -1).add_(coarse.view(coarse_side, 1, coarse_side, 1, -1))

"""Self-attention of a diffusers UNet, averaged as it is computed, so that no layer's heads are kept."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class AttentionMeans:
    """Means over heads and layers of self-attention, one for each resolution.

    Attributes:
        maps: float32 (n, n) sums by the side of the grid, n = side * side.
        layers: how many layers each sum has.
    """

    def __init__(self) -> None:
        self.maps: dict[int, Tensor] = {}
        self.layers: dict[int, int] = {}

    def add(self, attention: Tensor) -> None:
        """Add one layer's map, float32 (n, n), already averaged over its heads."""
        side = math.isqrt(attention.shape[-1])
        if side in self.maps:
            self.maps[side] += attention
        else:
            self.maps[side] = attention
        self.layers[side] = self.layers.get(side, 0) + 1

    def take(self) -> list[Tensor]:
        """Return the means, float32 (n, n), the finest first, and reset the sums."""
        means = [self.maps[side].div_(self.layers[side]) for side in sorted(self.maps, reverse=True)]
        self.maps, self.layers = {}, {}
        return means


class CapturingProcessor:
    """A diffusers attention processor for a transformer block's self-attention, one picture at a time.

    It works head by head: the largest tensors are two float32 (n, n), whatever the number of heads.
    """

    def __init__(self, means: AttentionMeans) -> None:
        self.means = means

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        """Attend and record.

        Args:
            attn: the ``diffusers`` Attention module whose processor this is.
            hidden_states: (1, n, channels).
        Returns:
            (1, n, channels), as diffusers' own processor gives.
        Source: softmax(q k^T / sqrt(d)) v, heads concatenated and projected ("Attention is all you
            need", arXiv:1706.03762).
        """
        heads = attn.heads
        query, key, value = (
            layer(hidden_states)[0].unflatten(-1, (heads, -1)).transpose(0, 1)
            for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        attended = torch.empty_like(value)
        total: Tensor | None = None
        for head in range(heads):
            attention = _softmax(query[head], key[head], float(attn.scale), bool(attn.upcast_attention))
            attended[head] = attention.to(value.dtype) @ value[head]
            total = attention if total is None else total.add_(attention)
        assert total is not None, "an attention layer has heads"
        self.means.add(total.div_(heads))
        output: Tensor = attn.to_out[1](attn.to_out[0](attended.transpose(0, 1).flatten(1)[None]))
        return output


def _softmax(query: Tensor, key: Tensor, scale: float, upcast: bool) -> Tensor:
    if upcast:
        query, key = query.float(), key.float()
    return torch.softmax((query * scale) @ key.T, dim=-1, dtype=torch.float32)


def capture_self_attention(unet: Any) -> AttentionMeans:
    """Make a UNet record its self-attention whenever it runs.

    Args:
        unet: a diffusers ``UNet2DConditionModel``; the processors of its blocks' first attention
            (``attn1``) are replaced, cross-attention keeps its own.
    Returns:
        Where the maps gather; ``take`` them after each run.
    """
    means = AttentionMeans()
    unet.set_attn_processor(
        {
            name: CapturingProcessor(means) if name.endswith(".attn1.processor") else processor
            for name, processor in unet.attn_processors.items()
        }
    )
    return means

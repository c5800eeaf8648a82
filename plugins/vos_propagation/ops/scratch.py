"""Reusable scratch buffers for intermediate results."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class ScratchBuffers:
    """Buffers that are reused from frame to frame: allocating one takes longer than many operations on it.

    Attributes:
        room: a new buffer is this many times as large as requested, for requests that grow.
    """

    def __init__(self) -> None:
        self.room = 1.0
        self._buffers: dict[str, Tensor] = {}

    def acquire(self, name: str, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return an uninitialised tensor on the device of ``like``; it overwrites the last one of this name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = like.new_empty(math.ceil(self.room * size), dtype=dtype)
        return buffer[:size].view(shape)

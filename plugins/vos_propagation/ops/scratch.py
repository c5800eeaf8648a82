"""Reusable scratch buffers for intermediate results."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class ScratchBuffers:
    """Buffers that are reused from frame to frame: allocation costs more than many operations on them.

    Attributes:
        room: factor by which new buffers are larger than requested, for requests that are known to grow.
    """

    def __init__(self) -> None:
        self.room = 1.0
        self._parts: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return an uninitialised tensor on the device of ``like``; earlier contents of the same name are lost."""
        size = math.prod(shape)
        part = self._parts.get(name)
        if part is None or part.numel() < size:
            part = self._parts[name] = like.new_empty(math.ceil(self.room * size), dtype=dtype)
        return part[:size].view(shape)

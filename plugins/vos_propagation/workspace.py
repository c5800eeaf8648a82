"""Memory for what is needed in between, of one call after the other."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Memory that is used again from frame to frame: to get it anew costs more than much of what is done in it.

    Attributes:
        room: how many times larger than asked for it is made, for what is known to come.
    """

    def __init__(self) -> None:
        self.room = 1.0
        self._parts: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Give an uninitialised tensor as ``like``, but perhaps of another dtype; what had that name before is lost."""
        size = math.prod(shape)
        part = self._parts.get(name)
        if part is None or part.numel() < size:
            part = self._parts[name] = like.new_empty(math.ceil(self.room * size), dtype=dtype)
        return part[:size].view(shape)

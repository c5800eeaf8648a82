"""Activations in place, exact, and fast where a CPU works in bfloat16."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# The bits of 6.0 in bfloat16.
SIX = 0x40C0


def relu_(x: Tensor) -> Tensor:
    """Set what is below 0 to 0, in place."""
    if _orders_as_integers(x):
        x.view(torch.int16).clamp_(min=0)
        return x
    return F.relu(x, inplace=True)


def relu6_(x: Tensor) -> Tensor:
    """Set what is below 0 to 0 and what is above 6 to 6, in place."""
    if _orders_as_integers(x):
        x.view(torch.int16).clamp_(0, SIX)
        return x
    return F.relu6(x, inplace=True)


def _orders_as_integers(x: Tensor) -> bool:
    """Tell whether to compare the bits, which have the order of the numbers from 0 on and the numbers' sign.

    torch makes each bfloat16 a float32 first on a CPU: that takes five times as long.
    """
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not x.requires_grad

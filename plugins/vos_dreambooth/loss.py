"""The loss: the subject's cells alone, and all cells of a class image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vos.plugin import BoolArray


def latent_mask(mask: BoolArray, cells: int) -> Tensor:
    """Resize a mask to the latent's grid.

    Args:
        mask: bool (S, S), the subject.
        cells: side of the grid.
    Returns:
        bool (cells, cells): cells that the subject fills by half or more; if there are none, those that it touches.
    """
    import torch

    full = torch.from_numpy(mask.copy()).float()[None, None]
    shares = F.adaptive_avg_pool2d(full, cells)[0, 0]
    return shares >= 0.5 if bool((shares >= 0.5).any()) else shares > 0


def subject_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the subject's cells.

    What the network predicts for the background has no part in it, so its gradient is exactly zero there.

    Args:
        prediction: float32 (C, h, w), the network's.
        target: float32 (C, h, w), noise or velocity.
        mask: bool (h, w), the subject.
    Returns:
        float32 ().
    Source: arXiv:2305.03048, section 3.4: "we only utilize the loss of the foreground".
    """
    return F.mse_loss(prediction[:, mask], target[:, mask])

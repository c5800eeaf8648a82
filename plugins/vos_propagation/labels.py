"""Rows of labels: background first, then one for each object."""

from __future__ import annotations

import torch
from torch import Tensor

# A cell shows what an object looks like where so much of it is the object's, or so much of the most of any cell.
OWN, NEARLY = 0.6, 0.9


def shown(share: Tensor) -> Tensor:
    """Say which cells show what an object looks like: bool, of its shares of cells, of any shape, not empty."""
    return share > min(OWN, NEARLY * float(share.max()))


def without_row(labels: Tensor, row: int) -> Tensor:
    """Drop an object's row; what it had becomes background.

    Args:
        labels: (V, h, w).
        row: from 1; row 0 is background.
    Returns:
        (V - 1, h, w).
    """
    kept = torch.cat([labels[:row], labels[row + 1 :]])
    kept[0] += labels[row]
    return kept


def with_rows(labels: Tensor, count: int) -> Tensor:
    """Add objects that have nothing yet.

    Args:
        labels: (V, h, w).
        count: of rows.
    Returns:
        (V + count, h, w).
    """
    return torch.cat([labels, labels.new_zeros(count, *labels.shape[1:])])

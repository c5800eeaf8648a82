"""Planes of labels: row 0 is background, then one row for each object."""

from __future__ import annotations

import torch
from torch import Tensor

REPRESENTATIVE_SHARE = 0.6
"""A cell with a larger share of foreground represents its object."""
REPRESENTATIVE_SHARE_OF_LARGEST = 0.9
"""For an object smaller than a cell: a cell with a larger multiple of the largest share represents it."""


def representative_cells(share: Tensor) -> Tensor:
    """Select the cells that represent an object.

    Args:
        share: the object's share of each cell, of any shape, not empty.
    Returns:
        bool, of the same shape.
    """
    return share > min(REPRESENTATIVE_SHARE, REPRESENTATIVE_SHARE_OF_LARGEST * float(share.max()))


def drop_row(labels: Tensor, row: int) -> Tensor:
    """Drop an object's row; its cells become background.

    Args:
        labels: (V, h, w).
        row: from 1; row 0 is background.
    Returns:
        (V - 1, h, w).
    """
    kept = torch.cat([labels[:row], labels[row + 1 :]])
    kept[0] += labels[row]
    return kept


def add_rows(labels: Tensor, count: int) -> Tensor:
    """Add rows of zeros for new objects.

    Args:
        labels: (V, h, w).
        count: number of new rows.
    Returns:
        (V + count, h, w).
    """
    return torch.cat([labels, labels.new_zeros(count, *labels.shape[1:])])

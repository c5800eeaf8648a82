"""Planes of labels: row 0 is background, then one row for each object."""

from __future__ import annotations

import torch
from torch import Tensor

# A cell represents an object if its foreground share exceeds min(OWN, NEARLY x the largest share).
OWN, NEARLY = 0.6, 0.9


def representative_cells(share: Tensor) -> Tensor:
    """Select the cells that represent an object: bool, of its foreground shares, of any shape, not empty."""
    return share > min(OWN, NEARLY * float(share.max()))


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
        count: of rows.
    Returns:
        (V + count, h, w).
    """
    return torch.cat([labels, labels.new_zeros(count, *labels.shape[1:])])

"""The highest of many values: nearly those of thousands at once, and those of short rows, fast on a CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vos_propagation.bits import comparable
from vos_propagation.workspace import Workspace

# So many values of a table share a row; so many at most have a number that fits below a bfloat16's bits.
SHARED = 8
LARGEST = 1 << 16


def about_where_highest(values: Tensor, first: int, counts: tuple[int, int], workspace: Workspace) -> Tensor:
    """Say where about the highest values of each column are, among its first rows and among the others.

    Args:
        values: (n, N, m), bfloat16 or float32; compared with bfloat16's precision where N is large.
        first: how many of the N rows are the first.
        counts: how many are looked for among the first, and how many among the others.
        workspace: for what is needed in between.
    Returns:
        int64 (n, m, sum of the counts), rows; those among the first come first, otherwise in any order.
    """
    parts = values.tensor_split((first,), dim=1)
    if values.shape[1] <= LARGEST and all(map(_fills_table, parts, counts)):
        parts = _numbered(values, workspace).tensor_split((first,), dim=1)
        return torch.cat([*map(_about_highest, parts, counts)], dim=-1)
    found, others = (part.topk(count, dim=1).indices for part, count in zip(parts, counts, strict=True))
    return torch.cat([found, first + others], dim=1).transpose(1, 2)


def highest_of_rows(values: Tensor, count: int) -> Tensor:
    """Give the highest values of each row of (..., n), in any order, where those are not below 0: (..., count)."""
    if count == values.shape[-1]:
        return values
    if values.device.type == "cpu":
        # NumPy's search takes a third of the time of torch's, on one core in place of two.
        best = np.partition(comparable(values), -count, axis=-1)[..., -count:]
        return torch.from_numpy(best).view(values.dtype)
    return values.topk(count, dim=-1, sorted=False).values


def highest_of_four(values: Tensor) -> Tensor:
    """Give the highest of every four neighbours, where that is not below 0: (..., 4 n) to (..., n)."""
    if values.device.type != "cpu":
        return values.view(*values.shape[:-1], -1, 4).amax(-1)
    # For so short a row NumPy takes a fifth of the time of torch.
    each = comparable(values)
    first, second = np.maximum(each[..., 0::4], each[..., 1::4]), np.maximum(each[..., 2::4], each[..., 3::4])
    return torch.from_numpy(np.maximum(first, second)).view(values.dtype)


def _fills_table(values: Tensor, count: int) -> bool:
    """Say whether each column of (n, N, m) makes a table in which most of the ``count`` highest have their own row."""
    return values.shape[1] % SHARED == 0 and values.shape[1] >= 2 * SHARED * max(1, count)


def _numbered(values: Tensor, workspace: Workspace) -> Tensor:
    """Write where each of values (n, N, m) is along N, at most ``LARGEST``, below the bits of its bfloat16.

    Returns:
        int32 (n, N, m), in the order of the values but for those below 0, which come last.
    """
    rounded = workspace.take("rounded", tuple(values.shape), values, torch.float32).copy_(values.to(torch.bfloat16))
    both = rounded.view(torch.int32)
    both += torch.arange(values.shape[1], dtype=torch.int32, device=values.device)[:, None]
    return both


def _about_highest(numbered: Tensor, count: int) -> Tensor:
    """Say where about the highest values of each column are, in any order.

    A column is laid as a table, and of those of its rows whose own highest values are highest each gives its highest:
    some that share a row are missed, but it takes a quarter of the time.

    Args:
        numbered: int32 (n, N, m), from ``_numbered``, or a part of that over N that fills a table.
        count: how many.
    Returns:
        int64 (n, m, count), where they were in all that was numbered.
    """
    rows = numbered.view(len(numbered), SHARED, numbered.shape[1] // SHARED, -1).amax(1)
    return (highest_of_rows(rows.transpose(1, 2).contiguous(), count) & (LARGEST - 1)).long()

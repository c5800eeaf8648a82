"""Top-k: approximate for thousands of values a column, exact for short rows; fast on a CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vos_propagation.ops.bfloat16_order import comparable
from vos_propagation.ops.scratch import ScratchBuffers

# Values of a column that share a row of the table, of which one can be found; and the longest column whose indices fit
# into the 16 bits below a bfloat16 in a float32.
SHARED = 8
LARGEST = 1 << 16


def approx_topk_indices(values: Tensor, first: int, counts: tuple[int, int], scratch: ScratchBuffers) -> Tensor:
    """Find about the k highest values of each column, among its first rows and among the others.

    Args:
        values: (n, N, m), bfloat16 or float32; compared with bfloat16's precision where N is large.
        first: the number of first rows.
        counts: k among the first rows, and k among the others.
        scratch: reusable buffers.
    Returns:
        int64 (n, m, sum of the counts), rows; those among the first come first, otherwise in any order.
    """
    parts = values.tensor_split((first,), dim=1)
    if values.shape[1] <= LARGEST and all(map(_fills_table, parts, counts)):
        parts = _numbered(values, scratch).tensor_split((first,), dim=1)
        return torch.cat([*map(_about_highest, parts, counts)], dim=-1)
    found, others = (part.topk(count, dim=1).indices for part, count in zip(parts, counts, strict=True))
    return torch.cat([found, first + others], dim=1).transpose(1, 2)


def topk_of_rows(values: Tensor, count: int) -> Tensor:
    """Return the k highest values of each row of (..., n), in any order, if they are not negative: (..., count)."""
    if count == values.shape[-1]:
        return values
    if values.device.type == "cpu":
        # NumPy's search takes a third of the time of torch's, on one core in place of two.
        best = np.partition(comparable(values), -count, axis=-1)[..., -count:]
        return torch.from_numpy(best).view(values.dtype)
    return values.topk(count, dim=-1, sorted=False).values


def max_of_four(values: Tensor) -> Tensor:
    """Return the highest of every four neighbours, if it is not negative: (..., 4 n) to (..., n)."""
    if values.device.type != "cpu":
        return values.view(*values.shape[:-1], -1, 4).amax(-1)
    # For so short a row NumPy takes a fifth of the time of torch.
    each = comparable(values)
    first, second = np.maximum(each[..., 0::4], each[..., 1::4]), np.maximum(each[..., 2::4], each[..., 3::4])
    return torch.from_numpy(np.maximum(first, second)).view(values.dtype)


def _fills_table(values: Tensor, count: int) -> bool:
    """Test whether each column of (n, N, m) fills a table in which most of the k highest values have their own row."""
    return values.shape[1] % SHARED == 0 and values.shape[1] >= 2 * SHARED * max(1, count)


def _numbered(values: Tensor, scratch: ScratchBuffers) -> Tensor:
    """Pack each value of (n, N, m), as bfloat16, and its index along N into one int32: value in the upper 16 bits.

    Returns:
        int32 (n, N, m) that sorts like the values; negative ones come last.
    """
    rounded = scratch.take("rounded", tuple(values.shape), values, torch.float32).copy_(values.to(torch.bfloat16))
    both = rounded.view(torch.int32)
    both += torch.arange(values.shape[1], dtype=torch.int32, device=values.device)[:, None]
    return both


def _about_highest(numbered: Tensor, count: int) -> Tensor:
    """Find about the k highest values of each column, in any order.

    A column is reshaped into a table; the k rows with the highest maxima yield one value each. Values that share a row
    with a higher one are missed. It takes a quarter of the time of an exact search.

    Args:
        numbered: int32 (n, N, m), from ``_numbered``, or a part of that over N that fills a table.
        count: k.
    Returns:
        int64 (n, m, count), indices along the packed axis.
    """
    rows = numbered.view(len(numbered), SHARED, numbered.shape[1] // SHARED, -1).amax(1)
    return (topk_of_rows(rows.transpose(1, 2).contiguous(), count) & (LARGEST - 1)).long()

"""Top-k that is fast on a CPU: approximate for columns of thousands of values, exact for short rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vos_propagation.ops.bfloat16_order import comparable
from vos_propagation.ops.scratch import ScratchBuffers

# The approximate search splits a column into groups of this many values, and finds at most one value of a group.
GROUP = 8
# The longest column: an index has the 16 bits below a bfloat16 value in a float32.
MAX_LENGTH = 1 << 16


def approx_topk_indices(values: Tensor, first: int, counts: tuple[int, int], scratch: ScratchBuffers) -> Tensor:
    """Find approximately the k highest values of each column, among its first rows and among its other rows.

    Args:
        values: (n, N, m), bfloat16 or float32; compared at bfloat16 precision where N is large.
        first: the number of first rows.
        counts: k among the first rows, and k among the others.
        scratch: reusable buffers.
    Returns:
        int64 (n, m, sum of the counts), row indices: those among the first rows, then the others, each in any order.
    """
    parts = values.tensor_split((first,), dim=1)
    if values.shape[1] <= MAX_LENGTH and all(map(_has_enough_groups, parts, counts)):
        parts = _pack_with_index(values, scratch).tensor_split((first,), dim=1)
        return torch.cat([*map(_approx_topk_of_packed, parts, counts)], dim=-1)
    found, others = (part.topk(count, dim=1).indices for part, count in zip(parts, counts, strict=True))
    return torch.cat([found, first + others], dim=1).transpose(1, 2)


def topk_of_rows(values: Tensor, count: int) -> Tensor:
    """Return the ``count`` highest values of each row of (..., n), in any order: (..., count).

    Values have to be 0 or more: negative bfloat16 values sort the wrong way.
    """
    if count == values.shape[-1]:
        return values
    if values.device.type == "cpu":
        # NumPy takes a third of the time of torch, on one core in place of two.
        best = np.partition(comparable(values), -count, axis=-1)[..., -count:]
        return torch.from_numpy(best).view(values.dtype)
    return values.topk(count, dim=-1, sorted=False).values


def max_of_four(values: Tensor) -> Tensor:
    """Return the highest of every four neighbours: (..., 4 n) to (..., n). The highest has to be 0 or more."""
    if values.device.type != "cpu":
        return values.view(*values.shape[:-1], -1, 4).amax(-1)
    # NumPy takes a fifth of the time of torch for rows of four.
    array = comparable(values)
    first, second = np.maximum(array[..., 0::4], array[..., 1::4]), np.maximum(array[..., 2::4], array[..., 3::4])
    return torch.from_numpy(np.maximum(first, second)).view(values.dtype)


def _has_enough_groups(values: Tensor, count: int) -> bool:
    """Test whether the columns of (n, N, m) have so many groups that few of the k highest values share one."""
    return values.shape[1] % GROUP == 0 and values.shape[1] >= 2 * GROUP * max(1, count)


def _pack_with_index(values: Tensor, scratch: ScratchBuffers) -> Tensor:
    """Pack each value of (n, N, m), as bfloat16, and its index along N into one int32: the value in the upper 16 bits.

    Returns:
        int32 (n, N, m) that sorts like the values; negative values come last, in any order.
    """
    rounded = scratch.acquire("rounded", tuple(values.shape), values, torch.float32).copy_(values.to(torch.bfloat16))
    packed = rounded.view(torch.int32)
    packed += torch.arange(values.shape[1], dtype=torch.int32, device=values.device)[:, None]
    return packed


def _approx_topk_of_packed(packed: Tensor, count: int) -> Tensor:
    """Find approximately the k highest values of each column, in any order.

    The k groups with the highest maxima yield one value each; a value in a group with a higher one is missed. It takes
    a quarter of the time of an exact search.

    Args:
        packed: int32 (n, N, m), from ``_pack_with_index``, or a part of that over N with enough groups.
        count: k.
    Returns:
        int64 (n, m, count), indices along the packed axis.
    """
    maxima = packed.view(len(packed), GROUP, packed.shape[1] // GROUP, -1).amax(1)
    return (topk_of_rows(maxima.transpose(1, 2).contiguous(), count) & (MAX_LENGTH - 1)).long()

"""DiffSeg's second step: merge attention maps that are close to a grid of anchors, then to one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vos.plugin import EmptyMaskError


def anchor_cells(points: int, side: int) -> Tensor:
    """Choose the cells of a regular grid of anchors.

    Args:
        points: anchors along one axis, from 2 to ``side``.
        side: cells along one axis.
    Returns:
        int64 (points * points,): the index ``i * side + j`` of each anchor, row by row.
    Raises:
        ValueError: ``points`` does not fit.
    Source: segmentor.py:23-30 at 77ea596 (for a side of 64).
    """
    if not 2 <= points <= side:
        raise ValueError(f"{points} anchors a side, expected 2 to {side}")
    step = (side - 1) // (points - 1)
    line = torch.arange(points) * step + (side - 1 - step * (points - 1)) // 2
    return (line[:, None] * side + line[None, :]).reshape(-1)


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """Half the symmetrised Kullback-Leibler divergence of every pair, by matrix products.

    With ``h(x) = sum x log x`` it is ``(h(p) + h(q) - p . log q - log p . q) / 2``: two products in place
    of a tensor of all pairs and cells. Zeros count as the smallest normal number.

    Args:
        p: (A, N) distributions, float32 or float64.
        q: (B, N), the same type.
    Returns:
        (A, B) in nats; 0 for equal distributions, up to rounding.
    Source: arXiv:2308.12469, equation 4; segmentor.py:84-88 at 77ea596 (which also halves the sum).
    """
    log_q = q.clamp_min(torch.finfo(q.dtype).tiny).log_()
    log_p = p.clamp_min(torch.finfo(p.dtype).tiny).log_()
    return _divergence(p, log_p, q, log_q)


def half_precision_kl(p: Tensor, q: Tensor) -> Tensor:
    """``symmetric_kl`` as the official code computes it: in half precision, zeros included.

    Values below about 3e-8 become 0 and their logarithm minus infinity, so every divergence from or
    to such a distribution is NaN, even from itself. Sums are float32 here; official ones differ from
    them, as from one half-precision implementation to another, by up to about 0.01.

    Args:
        p: (A, N) distributions.
        q: (B, N) distributions.
    Returns:
        float32 (A, B), NaN where a value underflows.
    Source: segmentor.py:84-88 and 100-103 at 77ea596.
    """
    p_half, q_half = p.half(), q.half()
    log_p, log_q = p_half.log().float(), q_half.log().float()
    return _divergence(p_half.float(), log_p, q_half.float(), log_q)


def _divergence(p: Tensor, log_p: Tensor, q: Tensor, log_q: Tensor) -> Tensor:
    result = p @ log_q.T
    result.addmm_(log_p, q.T)
    result.neg_()
    result += torch.linalg.vecdot(p, log_p)[:, None]
    result += torch.linalg.vecdot(q, log_q)
    return result.mul_(0.5)


def merge_to_anchors(maps: Tensor, anchors: Tensor, threshold: float, *, half_precision: bool = False) -> Tensor:
    """Average, for each anchor, all cells whose distribution is close to the anchor's.

    Args:
        maps: float32 (N, N), one distribution a cell, from ``aggregate``.
        anchors: int64 (A,), cells.
        threshold: divergences strictly below it are close.
        half_precision: compute divergences as the official code does, which loses anchors on
            sharp attention (``half_precision_kl``).
    Returns:
        float32 (A, N); with ``half_precision``, a row of NaN for an anchor that is close to nothing.
    Source: arXiv:2308.12469, algorithm 1, first iteration; segmentor.py:91-107 at 77ea596.
    """
    divergence = half_precision_kl if half_precision else symmetric_kl
    close = (divergence(maps[anchors.to(maps.device)], maps) < threshold).to(maps.dtype)
    return (close @ maps) / close.sum(dim=1, keepdim=True)


def merge_once(maps: Tensor, threshold: float) -> Tensor:
    """Merge maps that are close to one another, greedily in their order.

    The first map that is not yet taken gathers every map close to it, those taken before included,
    and the mean of these is one map of the result. Maps of NaN are close to nothing and drop out.

    Args:
        maps: (K, N) distributions.
        threshold: divergences strictly below it are close.
    Returns:
        (M, N) of the same type and device, M <= K.
    Source: arXiv:2308.12469, algorithm 1, later iterations; segmentor.py:108-124 at 77ea596.
    """
    maps = maps[maps[:, 0].isfinite()]
    close = (symmetric_kl(maps, maps) < threshold).cpu().numpy()
    taken = np.zeros(len(maps), dtype=bool)
    groups = []
    for index, row in enumerate(close):
        if not taken[index]:
            taken |= row
            groups.append(row)
    members = torch.from_numpy(np.array(groups, dtype=np.float32).reshape(-1, len(maps))).to(maps)
    return (members @ maps) / members.sum(dim=1, keepdim=True)


def merge(maps: Tensor, points: int, thresholds: Sequence[float], *, half_precision: bool = False) -> Tensor:
    """Merge a frame's cells into proposals: one merge to a grid of anchors, then greedy merges.

    Args:
        maps: float32 (N, N), from ``aggregate``.
        points: anchors along one axis.
        thresholds: one for each iteration, the first for the merge to anchors; at least two.
        half_precision: as in ``merge_to_anchors``; for the first iteration alone.
    Returns:
        float32 (M, N): M proposals' distributions, in the order of their first anchors.
    Raises:
        ValueError: fewer than two thresholds (the official code fails there too), or too many anchors.
        EmptyMaskError: half precision loses every anchor.
    Source: arXiv:2308.12469, algorithm 1; segmentor.py:90-132 at 77ea596.
    """
    if len(thresholds) < 2:
        raise ValueError(f"{len(thresholds)} merge iteration, expected 2 or more: the first only gathers to anchors")
    anchors = anchor_cells(points, math.isqrt(len(maps)))
    merged = merge_to_anchors(maps, anchors, thresholds[0], half_precision=half_precision)
    if half_precision and not bool(merged[:, 0].isfinite().any()):
        raise EmptyMaskError(
            "diffseg: the attention is so sharp that half precision loses every segment. "
            "Leave out -O half_precision_merge=true."
        )
    for threshold in thresholds[1:]:
        merged = merge_once(merged, threshold)
    return merged

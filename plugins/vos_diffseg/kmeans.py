"""K-means over attention maps: DiffSeg's optional refinement, and the paper's two baselines."""

from __future__ import annotations

import torch
from torch import Tensor


def kmeans(rows: Tensor, centres: Tensor, *, iterations: int = 300, tolerance: float = 1e-4) -> Tensor:
    """Lloyd's algorithm from given centres.

    It stops when no label changes, or when the centres' squared movement is at most ``tolerance``
    times the mean variance of the columns. A cluster that loses all rows keeps its centre.

    Args:
        rows: (N, D).
        centres: (K, D), where to start.
        iterations: at most so many updates.
        tolerance: see above.
    Returns:
        int64 (N,), the nearest of the last centres for each row.
    Source: Lloyd (1982), with the stopping rule of scikit-learn's ``KMeans``, which the official
        release calls (segmentor.py:135-143 at 77ea596); unlike there an empty cluster is not moved.
    """
    offset = rows.mean(dim=0)
    rows = rows - offset
    centres = centres.to(rows) - offset
    limit = tolerance * float(rows.var(dim=0, correction=0).mean())
    labels = _nearest(rows, centres)
    for _ in range(iterations):
        updated = cluster_means(rows, labels, centres)
        movement = float((updated - centres).square().sum())
        centres, before = updated, labels
        labels = _nearest(rows, centres)
        if torch.equal(labels, before) or movement <= limit:
            break
    return labels


def cluster_means(rows: Tensor, labels: Tensor, empty: Tensor) -> Tensor:
    """Average the rows of each cluster.

    Args:
        rows: (N, D).
        labels: int64 (N,), each below K.
        empty: (K, D), what a cluster without rows gets.
    Returns:
        (K, D).
    """
    members = torch.nn.functional.one_hot(labels, len(empty)).to(rows.dtype)
    counts = members.sum(dim=0)[:, None]
    return torch.where(counts > 0, (members.T @ rows) / counts.clamp_min(1), empty)


def spread_centres(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choose starting centres far from one another (k-means++).

    Args:
        rows: (N, D).
        count: K, from 1 to N.
        generator: source of randomness, on the CPU.
    Returns:
        (K, D), rows of ``rows``.
    Source: Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
    """
    chosen = [int(torch.randint(len(rows), (1,), generator=generator))]
    squares = torch.linalg.vecdot(rows, rows)
    nearest = torch.full((len(rows),), float("inf"), device=rows.device, dtype=rows.dtype)
    for _ in range(count - 1):
        last = rows[chosen[-1]]
        distance = (squares - 2 * rows @ last + last @ last).clamp_min(0)
        nearest = torch.minimum(nearest, distance)
        chances = nearest.cpu()
        if not float(chances.sum()) > 0:
            chances = torch.ones_like(chances)
        chosen.append(int(torch.multinomial(chances, 1, generator=generator)))
    return rows[torch.tensor(chosen, device=rows.device)]


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each row; the rows' squared norms are left out, as they do not change it."""
    nearest: Tensor = (torch.linalg.vecdot(centres, centres) - 2 * rows @ centres.T).argmin(dim=1)
    return nearest

"""Edge maps against human edges, as BSDS500 scores them: ODS, OIS, average precision, R50.

Source: Arbelaez et al., Contour Detection and Hierarchical Image Segmentation, TPAMI 2011; the benchmark's
correspondPixels, edgesEvalImg and edgesEvalDir. The benchmark matches pixels at the lowest cost of distances; here the
matching has the largest number of pairs, whose number alone counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from vos.plugin import AnyArray, BoolArray, FloatArray, InputError, read_image

MAX_DISTANCE = 0.0075
"""Of the image's diagonal: how far apart two edge pixels may lie that are the same."""
THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class EdgeScores:
    """Scores in [0, 1].

    Attributes:
        ods: F at the threshold that is best for all images together.
        ois: F where each image has its own best threshold.
        ap: average precision over recall.
        r50: recall at a precision of one half.
    """

    ods: float
    ois: float
    ap: float
    r50: float


def matched(edges: BoolArray, truth: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Match edge pixels one to one.

    Args:
        edges: bool (H, W).
        truth: bool (H, W).
    Returns:
        bool (H, W) each: the pixels of either that have a partner within ``MAX_DISTANCE`` of the diagonal.
    """
    points, others = np.argwhere(edges), np.argwhere(truth)
    of_edges, of_truth = np.zeros_like(edges), np.zeros_like(truth)
    if not len(points) or not len(others):
        return of_edges, of_truth
    reach = MAX_DISTANCE * float(np.hypot(*edges.shape))
    near = cKDTree(points).query_ball_tree(cKDTree(others), reach)
    counts = [len(row) for row in near]
    columns = np.array([column for row in near for column in row], dtype=np.int32)
    graph = csr_matrix((np.ones(len(columns), bool), columns, np.r_[0, np.cumsum(counts)]), (len(points), len(others)))
    partner = maximum_bipartite_matching(graph, perm_type="column")
    of_edges[tuple(points[partner >= 0].T)] = True
    of_truth[tuple(others[partner[partner >= 0]].T)] = True
    return of_edges, of_truth


def count_image(strength: FloatArray, truths: Sequence[BoolArray]) -> AnyArray:
    """Count matches of one image at all thresholds.

    Args:
        strength: float32 (H, W) in [0, 1], thin edges.
        truths: bool (H, W) for each annotator.
    Returns:
        int64 (99, 4): matched and all pixels of the truths, matched and all pixels of the edges.
    """
    counts = np.zeros((len(THRESHOLDS), 4), np.int64)
    before: tuple[int, AnyArray] = (-1, counts[0])
    for row, threshold in enumerate(THRESHOLDS):
        edges = strength >= threshold
        total = int(edges.sum())
        if total != before[0]:  # equal sizes are equal sets, as the threshold only rises
            right = np.zeros_like(edges)
            recalled = 0
            for truth in truths:
                of_edges, of_truth = matched(edges, truth)
                right |= of_edges
                recalled += int(of_truth.sum())
            before = total, np.array([recalled, sum(int(truth.sum()) for truth in truths), int(right.sum()), total])
        counts[row] = before[1]
    return counts


def edge_scores(counts: AnyArray) -> EdgeScores:
    """Make scores of the counts of N images, int64 (N, 99, 4)."""
    recall, precision = _rates(counts.sum(axis=0))
    best = _f(*_rates(counts)).argmax(axis=1)
    own = _rates(counts[np.arange(len(counts)), best].sum(axis=0))
    order = np.argsort(recall, kind="stable")
    rising, known = recall[order], precision[order]
    unique, first = np.unique(rising, return_index=True)
    steps = np.arange(101) / 100
    sampled = np.interp(steps, unique, known[first], left=0, right=0) if len(unique) > 1 else np.zeros(101)
    enough = recall[precision >= 0.5]
    return EdgeScores(
        float(_f(recall, precision).max()),
        float(_f(*own)),
        float(sampled.sum() / 100),
        float(enough.max()) if len(enough) else 0.0,
    )


def _rates(counts: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Recall and precision, 0 where nothing is counted."""
    recalled, truth, right, total = np.moveaxis(counts.astype(np.float64), -1, 0)
    return recalled / np.maximum(truth, 1), right / np.maximum(total, 1)


def _f(recall: AnyArray, precision: AnyArray) -> AnyArray:
    total = recall + precision
    return np.asarray(2 * recall * precision / np.where(total > 0, total, 1))


def read_truths(path: Path) -> list[BoolArray]:
    """Read an image's edges.

    Args:
        path: BSDS500's .mat with ``groundTruth``, one entry an annotator; or a picture whose bright pixels are edges.
    Returns:
        bool (H, W) for each annotator.
    Raises:
        InputError: it cannot be read, or holds something else.
    """
    if path.suffix.lower() != ".mat":
        return [read_image(path).max(axis=2) > 127]
    try:
        entries: Any = loadmat(path)["groundTruth"].ravel()
        return [np.asarray(entry["Boundaries"][0, 0]) > 0 for entry in entries]
    except Exception as error:  # foreign bytes fail in many ways
        raise InputError(f"{path}: not a BSDS500 ground truth ({' '.join(str(error).split())[:100]}).") from error

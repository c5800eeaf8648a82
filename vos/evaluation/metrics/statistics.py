"""Mean, recall and decay of scores over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RECALL_THRESHOLD = 0.5
DECAY_BINS = 4


@dataclass(frozen=True)
class Statistics:
    """Mean, recall and decay of one object's J or F over time (DAVIS), or their means over objects.

    Attributes:
        mean: mean over the frames, in [0, 1].
        recall: share of the frames whose score is over 0.5.
        decay: mean of the first quarter of the frames less that of the last; negative if scores rise.
    """

    mean: float
    recall: float
    decay: float


def statistics(scores: npt.ArrayLike, *, official: bool = False) -> Statistics:
    """Sum up one object's scores.

    Args:
        scores: float (T,), one for each frame; NaN is a frame that does not count.
        official: cut frame indices to 8 bits, as the official tool does: from 256 frames on its decay
            is not that of the first and last quarter.
    Returns:
        Mean, recall and decay; NaN where no frame counts. A NaN frame lowers the recall (official).
    Source: ``db_statistics``, davis2017-evaluation, davis2017/utils.py:107-140 at ac7c43f. Neighbouring
        quarters share their border frame, as there.
    """
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).all():
        return Statistics(math.nan, math.nan, math.nan)
    edges = np.round(np.linspace(1, len(values), DECAY_BINS + 1) + 1e-10).astype(np.int64) - 1
    if official:
        edges %= 256
        stops = (edges[1:] + 1) % 256
    else:
        stops = edges[1:] + 1
    first, last = values[edges[0] : stops[0]], values[edges[-2] : stops[-1]]
    return Statistics(
        _mean(values),
        float(np.mean(values > RECALL_THRESHOLD)),
        _mean(first) - _mean(last),
    )


def mean_of(statistics: Sequence[Statistics]) -> Statistics:
    """Average statistics over objects; each object counts once, however many frames it has.

    Args:
        statistics: those of the objects.
    Returns:
        Their means; NaN if there are none.
    """
    if not statistics:
        return Statistics(math.nan, math.nan, math.nan)
    table = np.array([(s.mean, s.recall, s.decay) for s in statistics])
    mean, recall, decay = (float(v) for v in table.mean(axis=0))
    return Statistics(mean, recall, decay)


def _mean(values: npt.NDArray[np.float64]) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if len(counted) else math.nan

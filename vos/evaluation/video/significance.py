"""Significance of scores: bootstrap intervals over sequences, and a paired test between two trackers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vos.errors import InputError
from vos.evaluation.video.scores import Scores

SAMPLES = 10_000
"""Resamplings of the sequences, and sign flips of the differences."""


@dataclass(frozen=True)
class Interval:
    """A 95 % bootstrap interval of a score.

    Attributes:
        low: the 2.5th percentile, in [0, 1].
        high: the 97.5th percentile, in [0, 1].
    """

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """J&F of one tracker against another, sequence by sequence.

    Attributes:
        difference: mean over the sequences of the second's J&F less the first's.
        p_value: two-sided, of a sign-flip permutation test over the sequences.
        wins: sequences on which the second is better.
        sequences: number of sequences.
    """

    difference: float
    p_value: float
    wins: int
    sequences: int


def bootstrap_interval(scores: Scores, *, seed: int = 0) -> Interval:
    """Resample the sequences, with all their objects, and take the data set's score of each sample.

    Args:
        scores: of a data set; its score is the mean over its objects.
        seed: of the resampling.
    Returns:
        The interval of J&F (of J where F is not measured).
    """
    sums = np.array([(_values(scores, i).sum(), len(_values(scores, i))) for i in range(len(scores.sequences))])
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(sums), (SAMPLES, len(sums)))
    totals = sums[chosen].sum(axis=1)
    means = totals[:, 0] / np.maximum(totals[:, 1], 1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(low), float(high))


def paired_test(first: Scores, second: Scores, *, seed: int = 0) -> Comparison:
    """Test whether two trackers differ, by the differences of their sequences' scores.

    Args:
        first: scores of one tracker.
        second: scores of the other, of the same sequences.
        seed: of the sign flips; with at most 13 sequences all flips are tried.
    Returns:
        The comparison.
    Raises:
        InputError: the sequences differ.
    """
    if [one.name for one in first.sequences] != [one.name for one in second.sequences]:
        raise InputError(f"{first.name} and {second.name} have different sequences; a paired test needs the same.")
    means = [np.array([_values(s, i).mean() for i in range(len(s.sequences))]) for s in (first, second)]
    differences = means[1] - means[0]
    count = len(differences)
    if 2**count <= SAMPLES:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        extra = 0
    else:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (SAMPLES, count))
        extra = 1  # the observed signs count as one of the flips
    flipped = np.abs((signs * differences).mean(axis=1))
    at_least = int(np.count_nonzero(flipped >= abs(differences.mean()) - 1e-12)) + extra
    p_value = at_least / (len(signs) + extra)
    return Comparison(float(differences.mean()), float(p_value), int(np.count_nonzero(differences > 0)), count)


def _values(scores: Scores, sequence: int) -> npt.NDArray[np.float64]:
    """J&F of a sequence's objects; J where F is not measured."""
    only_j = scores.protocol.measures == "j"
    objects = [one for one in scores.sequences[sequence].objects if len(one.j)]
    return np.array([one.j_statistics.mean if only_j else one.j_and_f for one in objects], dtype=np.float64)

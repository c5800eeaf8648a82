"""Significance of scores: bootstrap intervals over sequences, and a paired test between two trackers."""

from __future__ import annotations

import math
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
        low: the 2.5th percentile, in [0, 1]; NaN without a sequence.
        high: the 97.5th percentile, in [0, 1]; NaN without a sequence.
        sequences: number of sequences with scored objects, which alone are resampled.
    """

    low: float
    high: float
    sequences: int


@dataclass(frozen=True)
class Comparison:
    """J&F of one tracker against another, sequence by sequence.

    Attributes:
        difference: mean over the sequences of the second's J&F less the first's; NaN without any.
        p_value: two-sided, of a sign-flip permutation test over the sequences; NaN without any.
        wins: sequences on which the second is better.
        sequences: number of sequences in which both have scored objects.
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
    values = [of_sequence for of_sequence in _values(scores) if len(of_sequence)]
    if not values:
        return Interval(math.nan, math.nan, 0)
    sums = np.array([(of_sequence.sum(), len(of_sequence)) for of_sequence in values])
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(sums), (SAMPLES, len(sums)))
    totals = sums[chosen].sum(axis=1)
    low, high = np.percentile(totals[:, 0] / totals[:, 1], [2.5, 97.5])
    return Interval(float(low), float(high), len(sums))


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
    pairs = zip(_values(first), _values(second), strict=True)
    differences = np.array([theirs.mean() - mine.mean() for mine, theirs in pairs if len(mine) and len(theirs)])
    count = len(differences)
    if not count:
        return Comparison(math.nan, math.nan, 0, 0)
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


def _values(scores: Scores) -> list[npt.NDArray[np.float64]]:
    """J&F of each sequence's scored objects; J where F is not measured."""
    return [np.array([one.main for one in sequence.objects if len(one.j)]) for sequence in scores.sequences]

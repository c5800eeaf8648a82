"""Scores of segmentations of single images over a data set: pixel accuracy and mean IoU of classes.

A segment's class is predicted with it (``SemanticScorer``), or each image's segments are matched to the classes so
that most pixels agree (``HungarianScorer``, as PiCIE and DiffSeg report).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vos.errors import InputError
from vos.types.arrays import AnyArray

Counts = npt.NDArray[np.int64]


class ClassCounts:
    """True and false positives and false negatives of each class, summed over images.

    Attributes:
        true_positives: int64 (C,), pixels of each class that were found.
        false_positives: int64 (C,), pixels of other classes that were taken for it.
        false_negatives: int64 (C,), pixels of each class that were not found.
        pixels: all scored pixels.
    """

    def __init__(self, class_count: int) -> None:
        """Start with all counts at 0.

        Args:
            class_count: C, at least 1.
        Raises:
            InputError: less than 1.
        """
        if class_count < 1:
            raise InputError(f"class count is {class_count}, expected 1 or more")
        self.class_count = class_count
        self.true_positives: Counts = np.zeros(class_count, dtype=np.int64)
        self.false_positives: Counts = np.zeros(class_count, dtype=np.int64)
        self.false_negatives: Counts = np.zeros(class_count, dtype=np.int64)
        self.pixels = 0

    @property
    def accuracy(self) -> float:
        """Share of the scored pixels that are right; NaN before the first one."""
        return float(self.true_positives.sum() / self.pixels) if self.pixels else float("nan")

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """float64 (C,), intersection over union of each class; NaN for one neither present nor predicted."""
        union = self.true_positives + self.false_positives + self.false_negatives
        iou = np.full(self.class_count, np.nan)
        np.divide(self.true_positives, union, out=iou, where=union > 0)
        return iou

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that are present or predicted; NaN if none is."""
        iou = self.iou[~np.isnan(self.iou)]
        return float(iou.mean()) if len(iou) else float("nan")

    def _add_counts(self, true_positives: Counts, false_positives: Counts, labelled: Counts) -> None:
        self.true_positives += true_positives
        self.false_positives += false_positives
        self.false_negatives += labelled - true_positives
        self.pixels += int(labelled.sum())


class SemanticScorer(ClassCounts):
    """Scores predictions whose values are classes."""

    def add(self, prediction: AnyArray, labels: AnyArray, /) -> None:
        """Add one image.

        Args:
            prediction: integer (H, W); a value that is no class is a prediction of nothing.
            labels: integer (H, W); pixels whose value is no class (-1, 255) are not scored.
        Raises:
            InputError: the shapes differ.
        """
        table = confusion(prediction, labels, self.class_count, self.class_count)
        inside, lost = table[:, :-1], table[:, -1]
        hits = inside.diagonal()
        self._add_counts(hits, inside.sum(axis=0) - hits, inside.sum(axis=1) + lost)


class HungarianScorer(ClassCounts):
    """Scores proposals without classes: in each image, each is matched to at most one class.

    The matching makes the number of agreeing pixels highest. Pixels of a proposal without a class are false
    negatives. Where there are proposals left, they go to classes that the image does not have, which lowers these
    classes' IoU; which of them is a tie that SciPy breaks, as in the official evaluation.

    Source: google/diffseg, diffseg/utils.py (``hungarian_matching``) at 77ea596; arXiv:2308.12469.
    """

    def add(self, prediction: AnyArray, labels: AnyArray, /) -> None:
        """Add one image.

        Args:
            prediction: integer (H, W), proposals from 0; there may be more than classes.
            labels: integer (H, W); pixels whose value is no class (-1, 255) are not scored.
        Raises:
            InputError: the shapes differ, or a proposal is negative.
        """
        from scipy.optimize import linear_sum_assignment

        if prediction.min(initial=0) < 0:
            raise InputError(f"proposals go down to {prediction.min()}, expected 0 or more")
        value_count = max(self.class_count, int(prediction.max(initial=0)) + 1)
        table = confusion(prediction, labels, self.class_count, value_count)[:, :-1]
        classes, proposals = linear_sum_assignment(table, maximize=True)
        hits = np.zeros(self.class_count, dtype=np.int64)
        wrong = hits.copy()
        hits[classes] = table[classes, proposals]
        wrong[classes] = table[:, proposals].sum(axis=0) - hits[classes]
        self._add_counts(hits, wrong, table.sum(axis=1))


def confusion(prediction: AnyArray, labels: AnyArray, class_count: int, value_count: int) -> Counts:
    """Count the pixels of each class by what was predicted for them.

    Args:
        prediction: integer (H, W).
        labels: integer (H, W); only pixels with values 0 to C - 1 are counted.
        class_count: C.
        value_count: V.
    Returns:
        int64 (C, V + 1); the last column counts predictions that are not 0 to V - 1.
    Raises:
        InputError: the shapes differ.
    """
    if prediction.shape != labels.shape:
        raise InputError(f"prediction is {prediction.shape}, labels are {labels.shape}; expected one size")
    scored = (labels >= 0) & (labels < class_count)
    wanted = labels[scored].astype(np.int64)
    found = prediction[scored].astype(np.int64)
    found[(found < 0) | (found >= value_count)] = value_count
    columns = value_count + 1
    return np.bincount(wanted * columns + found, minlength=class_count * columns).reshape(class_count, columns)

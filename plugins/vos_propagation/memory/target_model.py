"""Target model, learnt online from the memory frames: ridge regression from features to labels.

One Gram matrix serves all objects; each further object costs one more right-hand side.
Source: FRTM (Robinson et al., arXiv:2003.00908) learns a discriminative target model while tracking; here the solution
has a closed form in place of its optimiser.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Regularisation, as a share of the mean diagonal element of the Gram matrix.
RIDGE = 1e-3
SMALLEST_RIDGE = 1e-12
# A cell with a larger share of background is a background cell.
BACKGROUND_SHARE = 0.95
# Only every n-th background cell of a tracked frame is a sample, with n times the weight: thousands of them look alike.
BACKGROUND_STRIDE = 4


class TargetModel:
    """Regression weights, refreshed with new frames; the annotated frames keep their full weight."""

    def __init__(self, features: Tensor, labels: int, *, decay: float, rate: float, small: float) -> None:
        """Make a model without samples.

        Args:
            features: (D, N) of any frame, for size and device.
            labels: V, the number of labels.
            decay: each learnt frame multiplies the weight of earlier frames by this.
            rate: weight of a new frame; an annotated frame has weight 1 and keeps it.
            small: objects of fewer cells than about this have less weight.
        """
        self._decay, self._rate, self._small = decay, rate, small
        size = len(features)
        self._fixed_gram = features.new_zeros(size, size)
        self._gram = features.new_zeros(size, size)
        self._fixed_moment = features.new_zeros(size, labels)
        self._moment = features.new_zeros(size, labels)
        self._weights = features.new_zeros(size, labels)

    def learn(self, features: Tensor, labels: Tensor, *, annotated: bool) -> None:
        """Train on a frame. All labels have the same total weight; uncertain cells have less weight.

        Args:
            features: float32 (D, N); faster if the features of a cell are adjacent in memory.
            labels: float32 (V, N), summing to 1 over V, or to 0 where the label is unknown.
            annotated: the frame keeps its weight; others decay.
        """
        certainty = (2 * labels.amax(0) - 1).clamp_min(0)
        share = labels * certainty
        weight = (share / (share.sum(1, keepdim=True) + self._small)).sum(0)
        if not annotated:
            is_left_out = labels[0] > BACKGROUND_SHARE
            weight = torch.where(is_left_out, BACKGROUND_STRIDE * weight, weight)
            is_left_out[::BACKGROUND_STRIDE] = False
            samples = (~is_left_out).nonzero()[:, 0]
            labels, weight = labels.index_select(1, samples), weight.index_select(0, samples)
            features = features.T.index_select(0, samples).T
        weighted = (features * weight).T
        gram, moment = weighted.T @ features.T, (labels @ weighted).T
        if annotated:
            self._fixed_gram = self._fixed_gram + gram
            self._fixed_moment = self._fixed_moment + moment
        else:
            self._gram = self._decay * self._gram + self._rate * gram
            self._moment = self._decay * self._moment + self._rate * moment
        self._weights = _solve(self._fixed_gram + self._gram, self._fixed_moment + self._moment)

    def scores(self, features: Tensor) -> Tensor:
        """Score cells: near 1 where a label's object is, near 0 elsewhere.

        Args:
            features: float32 (D, N).
        Returns:
            float32 (V, N) in [-0.5, 1.5].
        """
        return (self._weights.T @ features).clamp_(-0.5, 1.5)


def _solve(gram: Tensor, moment: Tensor) -> Tensor:
    """Solve for the weights (D, V) of the ridge regression."""
    # Where objects share every cell, no cell is certain, and the Gram matrix is 0.
    least = (RIDGE * gram.trace() / len(gram)).clamp_min(SMALLEST_RIDGE)
    ridge = least * torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    weights: Tensor = torch.linalg.solve(gram + ridge, moment)
    return weights

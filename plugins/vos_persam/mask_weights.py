"""PerSAM-F's fine-tuning: two weights that mix the three masks of different extent.

The decoder's output does not depend on the weights, so it is computed once; the release runs the decoder in each of
its 800 or 1000 epochs. What is left is a smooth function of two numbers: dice plus focal loss of ``w0 l0 + w1 l1 + w2
l2`` with ``w0 = 1 - w1 - w2``. Its value, gradient and second derivatives are written out here, and taken from all
pixels only where the weights have moved: until then the gradient is followed along its tangent plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from vos.plugin import BoolArray, FloatArray

Doubles = npt.NDArray[np.float64]

BETAS, EPSILON, DECAY = (0.9, 0.999), 1e-4, 0.01
"""AdamW's constants: ``eps`` is the release's, the others are torch's defaults."""
ALPHA = 0.25
"""Focal loss: weight of object pixels; the others have the rest. Its exponent is 2."""
STEP = 0.03
"""How far, in logits of the pixels that matter, the weights may move before all pixels are looked at again."""
LARGEST = 80.0
"""Logits beyond it are as good as it: the losses' slopes are constant there, and exp() stays finite."""


@dataclass
class FitHistory:
    """What each epoch started from and found, before its step.

    Attributes:
        weights: (w1, w2).
        dice: dice losses.
        focal: focal losses.
    """

    weights: list[tuple[float, float]] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    focal: list[float] = field(default_factory=list)


def fit_mask_weights(
    logits: Tensor, mask: BoolArray, *, epochs: int, rate: float, history: FitHistory | None = None
) -> tuple[float, float, float]:
    """Learn how to mix the three masks so that they give the reference mask.

    Args:
        logits: float32 (3, H, W), the reference frame's masks at frame size.
        mask: bool (H, W), the reference mask.
        epochs: number of AdamW steps.
        rate: learning rate at the start; it falls along a cosine to 0.
        history: filled in, if given.
    Returns:
        (w0, w1, w2), the weights of the three masks; they sum to 1.
    Source: persam_f.py:127-158, persam_video_f.py:119-158 at a7e8724 (losses: :237-279 and the like).
    """
    problem = _Problem(logits.detach().cpu().numpy(), mask)
    weights = np.full(2, 1 / 3)
    mean, square = np.zeros(2), np.zeros(2)
    near = problem.expand(weights)
    for epoch in range(epochs):
        if near.distance(weights) > STEP:
            near = problem.expand(weights)
        if history is not None:
            history.weights.append((float(weights[0]), float(weights[1])))
            history.dice.append(near.dice.value(weights - near.at))
            history.focal.append(near.focal.value(weights - near.at))
        gradient = near.dice.slope(weights - near.at) + near.focal.slope(weights - near.at)
        step = rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        weights *= 1 - step * DECAY
        mean += (1 - BETAS[0]) * (gradient - mean)
        square += (1 - BETAS[1]) * (gradient**2 - square)
        root = np.sqrt(square / (1 - BETAS[1] ** (epoch + 1))) + EPSILON
        weights -= step * mean / (1 - BETAS[0] ** (epoch + 1)) / root
    return float(1 - weights.sum()), float(weights[0]), float(weights[1])


@dataclass(frozen=True)
class _Quadratic:
    """A function of two weights near a point: value, gradient (2,) and second derivatives (2, 2)."""

    here: float
    gradient: Doubles
    hessian: Doubles

    def value(self, moved: Doubles) -> float:
        return float(self.here + self.gradient @ moved + moved @ self.hessian @ moved / 2)

    def slope(self, moved: Doubles) -> Doubles:
        return self.gradient + self.hessian @ moved


@dataclass(frozen=True)
class _Expansion:
    """Both losses near a point, and how many logits a weight's move is worth there."""

    at: Doubles
    dice: _Quadratic
    focal: _Quadratic
    reach: Doubles

    def distance(self, weights: Doubles) -> float:
        return float(np.abs(weights - self.at) @ self.reach)


class _Problem:
    """The losses as a function of the two weights.

    Each pixel is turned so that 'right' is positive: ``u = s * logit`` with s = 1 on the object and -1 elsewhere; it
    is ``base + w1 * first + w2 * second``. Object pixels come first.
    """

    def __init__(self, logits: FloatArray, mask: BoolArray) -> None:
        flat = logits.reshape(3, -1)
        inside = mask.ravel()
        turned = np.concatenate([flat[:, inside], -flat[:, ~inside]], axis=1)
        self._objects = int(inside.sum())
        self._pixels = inside.size
        self._base = turned[0]
        first, second = turned[1] - turned[0], turned[2] - turned[0]
        self._slopes = np.stack([first, second])
        # What sums are weighted with: both slopes, their products, and their sizes.
        self._terms = np.stack([first, second, first * first, first * second, second * second])

    def expand(self, weights: Doubles) -> _Expansion:
        """Look at all pixels."""
        turned = self._base + weights.astype(np.float32) @ self._slopes
        odds = np.exp(-np.clip(turned, -LARGEST, LARGEST, out=turned))
        right = 1 / (1 + odds)
        wrong = odds * right
        log_right = -np.log1p(odds)
        spread = right * wrong
        spread_slope = spread * (wrong - right)
        focal, focal_slope, focal_curve = _focal(right, wrong, log_right)

        parts = (slice(0, self._objects), slice(self._objects, self._pixels))
        on, off = ALPHA / self._pixels, (1 - ALPHA) / self._pixels
        focal_sums = [
            share * np.array([focal[part].sum(), *self._sums(part, focal_slope, focal_curve)])
            for share, part in zip((on, off), parts, strict=True)
        ]
        # The objects' and the background's sums of sigmoid(u), with its derivatives by the weights.
        inside, outside = (self._sums(part, spread, spread_slope) for part in parts)
        overlap = _quadratic(float(right[parts[0]].sum()), *inside)
        total = _quadratic(
            float(right[parts[0]].sum() + wrong[parts[1]].sum()) + self._objects + 1, *(inside - outside)
        )
        importance = float(spread.sum()) or 1.0
        return _Expansion(
            weights.copy(),
            _dice(overlap, total),
            _quadratic(*(focal_sums[0] + focal_sums[1])),
            np.array([np.abs(slope) @ spread for slope in self._slopes], dtype=np.float64) / importance,
        )

    def _sums(self, part: slice, slope: FloatArray, curve: FloatArray) -> Doubles:
        """Sums of a pixel function's first and second derivatives by the weights: (5,)."""
        first = self._terms[:2, part] @ slope[part]
        second = self._terms[2:, part] @ curve[part]
        return np.concatenate([first, second]).astype(np.float64)


def _focal(right: FloatArray, wrong: FloatArray, log_right: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``(1 - p)^2 * -log p`` of p = sigmoid(u), and its first two derivatives by u."""
    squared = wrong * wrong
    value = -squared * log_right
    slope = squared * (2 * right * log_right - wrong)
    curve = right * squared * (5 * wrong + 2 * log_right * (wrong - 2 * right))
    return value, slope, curve


def _quadratic(here: float, first: float, second: float, aa: float, ab: float, bb: float) -> _Quadratic:
    return _Quadratic(float(here), np.array([first, second]), np.array([[aa, ab], [ab, bb]]))


def _dice(overlap: _Quadratic, total: _Quadratic) -> _Quadratic:
    """``1 - (2 overlap + 1) / total``."""
    share = (2 * overlap.here + 1) / total.here
    slope = (2 * overlap.gradient - share * total.gradient) / total.here
    cross = np.outer(slope, total.gradient)
    curve = (2 * overlap.hessian - share * total.hessian - cross - cross.T) / total.here
    return _Quadratic(1 - share, -slope, -curve)

"""PerSAM-F's fine-tuning: two weights that mix the three masks of different extent.

The decoder's output does not depend on the weights, so it is computed once; the release runs the decoder in each of
its 800 or 1000 epochs. What is left is a smooth function of two numbers: dice plus focal loss of ``w0 l0 + w1 l1 + w2
l2`` with ``w0 = 1 - w1 - w2``. Its gradient is written out here. Pixels whose logit stays far from 0 whatever the
next steps do have a constant gradient, so only those near the object's edge are looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from vos import BoolArray

Doubles = npt.NDArray[np.float64]

BETAS, EPSILON, DECAY = (0.9, 0.999), 1e-4, 0.01
"""AdamW's constants: ``eps`` is the release's, the others are torch's defaults."""
ALPHA = 0.25
"""Focal loss: weight of object pixels; the others have the rest. Its exponent is 2."""
SATURATED = 18.0
"""A logit beyond this is constant for the losses: sigmoid(-18) is 1.5e-8."""
EPOCHS_PER_SELECTION = 50
STEP_BOUND = 1.5
"""A step of Adam on a smooth slope is at most about one learning rate."""


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
    problem = _Problem(np.asarray(logits.detach().cpu().numpy(), dtype=np.float64), mask)
    weights = np.full(2, 1 / 3)
    mean, square = np.zeros(2), np.zeros(2)
    for epoch in range(epochs):
        if epoch % EPOCHS_PER_SELECTION == 0:
            problem.select(weights, rate * EPOCHS_PER_SELECTION * STEP_BOUND)
        dice, focal, gradient = problem.losses(weights)
        if history is not None:
            history.weights.append((float(weights[0]), float(weights[1])))
            history.dice.append(dice)
            history.focal.append(focal)
        step = rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        weights *= 1 - step * DECAY
        mean += (1 - BETAS[0]) * (gradient - mean)
        square += (1 - BETAS[1]) * (gradient**2 - square)
        root = np.sqrt(square / (1 - BETAS[1] ** (epoch + 1))) + EPSILON
        weights -= step * mean / (1 - BETAS[0] ** (epoch + 1)) / root
    return float(1 - weights.sum()), float(weights[0]), float(weights[1])


class _Problem:
    """The losses as a function of the two weights.

    Each pixel is turned so that 'right' is positive: ``u = s * logit`` with s = 1 on the object and -1 elsewhere;
    ``u = base + w1 * first + w2 * second``.
    """

    def __init__(self, logits: Doubles, mask: BoolArray) -> None:
        order = np.argsort(~mask.ravel(), kind="stable")
        planes = logits.reshape(3, -1)[:, order]
        self._positives = int(mask.sum())
        planes[:, self._positives :] *= -1
        self._base = planes[0]
        self._slopes = planes[1:] - planes[0]
        self._pixels = mask.size

    def select(self, weights: Doubles, reach: float) -> None:
        """Keep the pixels that matter while no weight moves further than ``reach``; sum the others up."""
        turned = self._base + weights @ self._slopes
        moves = reach * np.abs(self._slopes).sum(axis=0)
        active = np.abs(turned) - moves < SATURATED
        wrong = ~active & (turned < 0)
        count = self._positives
        right_positives = int(np.count_nonzero(~active[:count] & ~wrong[:count]))
        wrong_negatives = int(np.count_nonzero(wrong[count:]))
        self._constant_overlap = right_positives
        self._constant_sum = right_positives + wrong_negatives
        # Far on the wrong side the focal loss is -u, a straight line.
        share = np.where(np.arange(self._pixels) < count, ALPHA, 1 - ALPHA)[wrong] / self._pixels
        self._line_slopes = -(self._slopes[:, wrong] @ share)
        self._line_base = -float(self._base[wrong] @ share)
        self._active_base = self._base[active].astype(np.float32)
        self._active_slopes = self._slopes[:, active].astype(np.float32)
        self._active_positives = int(np.count_nonzero(active[:count]))

    def losses(self, weights: Doubles) -> tuple[float, float, Doubles]:
        """Dice loss, focal loss, and the gradient of their sum (2,)."""
        count = self._active_positives
        turned = self._active_base + weights.astype(np.float32) @ self._active_slopes
        odds = np.exp(-turned)
        right = 1 / (1 + odds)
        wrong = odds * right
        log_right = -np.log1p(odds)

        overlap = self._constant_overlap + float(right[:count].sum())
        total = self._constant_sum + float(right[:count].sum() + wrong[count:].sum()) + self._positives + 1
        dice = 1 - (2 * overlap + 1) / total
        on_object = -(2 * total - (2 * overlap + 1)) / total**2
        elsewhere = -(2 * overlap + 1) / total**2

        squared = wrong * wrong
        focal_terms = -squared * log_right
        on, off = ALPHA / self._pixels, (1 - ALPHA) / self._pixels
        focal = on * float(focal_terms[:count].sum()) + off * float(focal_terms[count:].sum())
        focal += self._line_base + float(weights @ self._line_slopes)

        pull = squared * (2 * right * log_right - wrong)
        spread = right * wrong
        pull[:count] = on * pull[:count] + on_object * spread[:count]
        pull[count:] = off * pull[count:] + elsewhere * spread[count:]
        gradient: Doubles = (self._active_slopes @ pull).astype(np.float64) + self._line_slopes
        return dice, focal, gradient

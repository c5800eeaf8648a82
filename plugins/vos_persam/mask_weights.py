"""PerSAM-F's fine-tuning: two weights that mix the decoder's three masks.

The decoder's output does not depend on the weights, so it is computed once; the official code runs the decoder in
each of its 800 or 1000 epochs. ``torch.optim.AdamW`` takes the steps. Its gradients come from a second-order
expansion of the two losses, which autograd computes over all pixels again once the weights have moved by
``MAX_SHIFT``. Over the plain loop (all pixels in each epoch) this is 14 times as fast at 480 x 854, on one
thread (processor time), with the same weights to 1e-4 (``tests/benchmarks/bench_persam.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vos.plugin import BoolArray, OptionError

EPSILON = 1e-4
"""AdamW's ``eps`` in the official code; its other constants are torch's defaults."""
OBJECT_SHARE = 0.25
"""Focal loss: weight of object pixels; background pixels have the rest. Its exponent is 2."""
MAX_SHIFT = 0.03
"""How far the logits of uncertain pixels may move, on average, before the losses are expanded anew."""

MAX_RISE = 0.01
"""How far the loss may end above its start: it wavers by less where nothing is left to learn."""


@dataclass
class FitHistory:
    """The state before each epoch's step.

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
    """Fit weights that mix the three masks to the reference mask.

    Args:
        logits: float32 (3, H, W), the reference frame's masks at frame size.
        mask: bool (H, W), the reference mask.
        epochs: number of AdamW steps.
        rate: learning rate of the first step; it falls along a cosine to 0.
        history: filled in, if given.
    Returns:
        (w0, w1, w2), the weights of the three masks; they sum to 1.
    Raises:
        OptionError: the loss rises, as with a rate that is too high.
    Source: persam_f.py:127-158, persam_video_f.py:119-158 at a7e8724 (losses: :237-279 and the like).
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        losses = _Losses(logits.cpu().clone(), mask)
        weights = torch.full((2,), 1 / 3, dtype=torch.float64)
        optimizer = torch.optim.AdamW([weights], lr=rate, eps=EPSILON, foreach=False)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        near = first = losses.expand(weights)
        for _ in range(epochs):
            if near.shift(weights) > MAX_SHIFT:
                near = losses.expand(weights)
            if history is not None:
                dice, focal = near.values(weights).tolist()
                history.weights.append((float(weights[0]), float(weights[1])))
                history.dice.append(dice)
                history.focal.append(focal)
            weights.grad = near.gradient(weights)
            optimizer.step()
            schedule.step()
        before, after = float(first.here.sum()), float(losses.expand(weights).here.sum())
    if not after <= before + MAX_RISE:
        raise OptionError(
            f"rate {rate:g} is too high: in {epochs} epochs the loss of the mask weights went from {before:.3g} to "
            f"{after:.3g}. Give a lower one; the official code has 0.0004 for videos and 0.001 for images."
        )
    w1, w2 = weights.tolist()
    return 1 - w1 - w2, w1, w2


@dataclass(frozen=True)
class _Expansion:
    """Dice and focal loss near two weights, to second order; float64.

    Attributes:
        at: (2,), the weights.
        here: (2,), the losses there.
        slopes: (2, 2), each loss's gradient.
        curvatures: (2, 2, 2), each loss's second derivatives.
        logit_shift: (2,), mean change of the uncertain pixels' logits per unit of each weight.
    """

    at: Tensor
    here: Tensor
    slopes: Tensor
    curvatures: Tensor
    logit_shift: Tensor

    def shift(self, weights: Tensor) -> float:
        return float((weights - self.at).abs() @ self.logit_shift)

    def values(self, weights: Tensor) -> Tensor:
        moved = weights - self.at
        return self.here + self.slopes @ moved + (self.curvatures @ moved) @ moved / 2

    def gradient(self, weights: Tensor) -> Tensor:
        return (self.slopes + self.curvatures @ (weights - self.at)).sum(0)


class _Losses:
    """The official dice and focal losses as a function of the two weights."""

    def __init__(self, logits: Tensor, mask: BoolArray) -> None:
        flat = logits.flatten(1)
        self._base = flat[0]
        self._differences = flat[1:] - flat[0]
        self._target = torch.from_numpy(mask.astype(np.float32)).flatten()
        self._shares = torch.where(self._target > 0, OBJECT_SHARE, 1 - OBJECT_SHARE) / mask.size

    def __call__(self, mixed: Tensor) -> tuple[Tensor, Tensor]:
        """Dice and focal loss of mixed logits (H * W,)."""
        prob, target = mixed.sigmoid(), self._target
        dice = 1 - (2 * (prob @ target) + 1) / (prob.sum() + target.sum() + 1)
        cross_entropy = F.binary_cross_entropy_with_logits(mixed, target, reduction="none")
        focal = self._shares @ (cross_entropy * (prob - target).square())
        return dice, focal

    def expand(self, weights: Tensor) -> _Expansion:
        """Compute both losses and their first two derivatives by the weights, over all pixels."""
        at = weights.detach().float().requires_grad_()
        mixed = self._base + at @ self._differences
        losses = self(mixed)
        slopes = [torch.autograd.grad(loss, at, create_graph=True)[0] for loss in losses]
        curvatures = [[torch.autograd.grad(part, at, retain_graph=True)[0] for part in slope] for slope in slopes]
        prob = mixed.detach().sigmoid()
        uncertainty = prob * (1 - prob)
        shift = self._differences.abs() @ uncertainty / uncertainty.sum().clamp(min=1e-12)
        return _Expansion(
            weights.clone(),
            torch.stack(losses).detach().double(),
            torch.stack(slopes).detach().double(),
            torch.stack([torch.stack(rows) for rows in curvatures]).double(),
            shift.double(),
        )

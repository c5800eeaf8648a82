"""Steps of training of a small network, and the moving average of its weights, which is what is written."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vos.plugin import atomic_write

LEARNING_RATE = 2e-3
AVERAGED = 0.998
"""Decay of the moving average of the weights."""
PRINTED_EVERY, WRITTEN_EVERY = 50, 500


class AveragedTraining:
    """AdamW with one cycle of the learning rate; the loss is printed and the average written now and then."""

    def __init__(self, network: nn.Module, steps: int, out: Path) -> None:
        """Begin.

        Args:
            network: to train.
            steps: number of steps in all.
            out: file of the averaged weights, a state dict in float16; it is replaced whenever they are written.
        """
        self._network, self._steps, self._out = network, steps, out
        self._averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED), use_buffers=True)  # type: ignore[no-untyped-call]
        self._optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
        scheduled = max(steps, 21)  # OneCycleLR divides by zero where 5 % of the steps are one step
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, LEARNING_RATE, total_steps=scheduled, pct_start=0.05
        )
        self._began, self._losses = time.perf_counter(), list[float]()

    def learn(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss, a scalar, and write the weights if it is time or the last step."""
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._averaged.update_parameters(self._network)
        self._losses.append(float(loss.detach()))
        done = len(self._losses)
        if done % PRINTED_EVERY == 0:
            seconds = time.perf_counter() - self._began
            print(f"step {done}: loss {np.mean(self._losses[-PRINTED_EVERY:]):.4f}, {seconds:.0f} s", flush=True)
        if done % WRITTEN_EVERY == 0 or done == self._steps:
            content = io.BytesIO()
            torch.save({name: value.half() for name, value in self._averaged.module.state_dict().items()}, content)
            atomic_write(self._out, content.getvalue())

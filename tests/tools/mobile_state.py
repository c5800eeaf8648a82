"""A state dict with given names and shapes, filled from a seed: stands in for a checkpoint that is not here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch


def seeded_state(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Fill tensors with moderate random values; variances are positive, counters 0."""
    random = np.random.default_rng(seed)
    state: dict[str, torch.Tensor] = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        if name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, shape)
        elif len(shape) >= 2:
            values = random.normal(0, 1 / np.sqrt(max(1, np.prod(shape[1:]))), shape)
        elif name.endswith(("bias", "running_mean")):
            values = random.normal(0, 0.1, shape)
        else:
            values = random.normal(1, 0.1, shape)
        state[name] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return state

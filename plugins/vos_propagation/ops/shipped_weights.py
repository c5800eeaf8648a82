"""Weights of a network that comes with a plugin, made ready for inference."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import torch
from torch import nn

from vos.plugin import WeightsError
from vos_propagation.ops.convolutions import fold_all_batch_norms

Network = TypeVar("Network", bound=nn.Module)


def load_shipped_weights(network: Network, path: Path) -> Network:
    """Load float16 weights into a network, and fold its batch norms.

    Args:
        network: as its class makes it; it is changed.
        path: a state dict, as the training scripts write it.
    Returns:
        The network in evaluation mode, float32, on the CPU, without gradients.
    Raises:
        WeightsError: the file is missing or does not fit.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        what = type(network).__name__
        raise WeightsError(f"{path}: is not the file of {what} ({error}). Reinstall vos-toolkit.") from None
    network.eval().requires_grad_(False)
    fold_all_batch_norms(network)
    return network.to(memory_format=torch.channels_last)

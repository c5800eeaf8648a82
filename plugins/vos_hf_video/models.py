"""Load a video model of transformers."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from vos.plugin import ExtraMissingError, load_network
from vos.weights import sha256_of
from vos_hf_video.options import NEEDED, HfVideoOptions, find_folder


def load_model(options: HfVideoOptions, device: torch.device, dtype: torch.dtype) -> Any:
    """Load the model that the options name.

    Args:
        options: which model, and whether to compile it.
        device: where it runs.
        dtype: its arithmetic.
    Returns:
        A ``Sam2VideoModel``, ``EdgeTamVideoModel`` or ``Sam3TrackerVideoModel`` in evaluation mode.
    Raises:
        ExtraMissingError: transformers, or a version of it that has the class, is not installed.
        WeightsError: the model cannot be found, fetched or loaded.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
        kind = getattr(transformers, options.model_class)
    except (ImportError, AttributeError) as error:
        raise ExtraMissingError(
            f'no {options.model_class} of transformers ({error}). Install it: pip install "vos-toolkit[hf-video]"'
        ) from error
    folder = find_folder(options)
    model = load_network(kind, folder).to(device, dtype).eval()
    if options.compile:
        # The other parts see other shapes as the memory fills, and would be compiled again.
        model.vision_encoder.compile()
        model.memory_encoder.compile()
    return model


def describe_model(options: HfVideoOptions) -> dict[str, str]:
    """Digest the files of the model that the options name, for a tracker's ``details``.

    Args:
        options: as in ``load_model``, which has loaded it.
    Returns:
        SHA-256 by file name.
    """
    folder = find_folder(options)
    return {file.name: sha256_of(file) for pattern in NEEDED for file in sorted(folder.glob(pattern))}

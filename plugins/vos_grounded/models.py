"""Load detectors and SAM 3 from folders in transformers' layout."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vos.plugin import ExtraMissingError, Runtime, WeightsError, hub_folder, load_network, load_part
from vos.weights import read_config

FILES = ("*.json", "*.txt", "*.safetensors")
NEEDED = ("config.json", "*processor_config.json", "*.safetensors")
OPTIONAL = ("*.position_ids", "*.num_batches_tracked")
"""Tensors that some releases of transformers save and others do not; nothing is computed from them."""


@dataclass(frozen=True)
class Loaded:
    """A network of transformers with its processor.

    Attributes:
        folder: where it is from.
        network: in evaluation mode, on its device.
        processor: prepares images and text.
    """

    folder: Path
    network: Any
    processor: Any


def model_folder(model: str, types: Sequence[str]) -> tuple[Path, str]:
    """Find a model's folder, and check what kind of model it is.

    Args:
        model: a folder, or a hub id.
        types: values of ``model_type`` that fit.
    Returns:
        The folder, and its ``model_type``.
    Raises:
        ExtraMissingError: the hub's client is not installed.
        WeightsError: no such folder, or another kind of model.
    """
    folder = hub_folder(model, files=FILES, needed=NEEDED, extra="grounded")
    kind = read_config(folder / "config.json").get("model_type")
    if kind not in types:
        raise WeightsError(f'{folder}: model type is "{kind}", expected {" or ".join(types)}.')
    return folder, str(kind)


def load(folder: Path, network: str, processor: str, runtime: Runtime) -> Loaded:
    """Load a network and its processor.

    Args:
        folder: the model's.
        network: name of the network's class in transformers.
        processor: name of the processor's class.
        runtime: device and precision (``auto`` is fp32).
    Raises:
        ExtraMissingError: transformers, or a version of it that has the classes, is not installed.
        WeightsError: files are missing, damaged or of another model.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
        kinds = getattr(transformers, network), getattr(transformers, processor)
    except (ImportError, AttributeError) as error:
        raise ExtraMissingError(
            f'no {network} of transformers ({error}). Install it: pip install "vos-toolkit[grounded]"'
        ) from error
    loaded = load_network(kinds[0], folder, optional=OPTIONAL)
    return Loaded(folder, loaded.to(runtime.torch_device(), runtime.torch_dtype()).eval(), load_part(kinds[1], folder))

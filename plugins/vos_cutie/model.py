"""Load Cutie from a checkpoint, strictly, and without the ImageNet weights that its constructor fetches."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vos import weights
from vos.plugin import ExtraMissingError, WeightsError
from vos_cutie.options import CutieOptions, check_files

SMALL_CHANNELS = 256
"""Channels of the last image features of the small model; the base model has 1024."""


def load_cutie(options: CutieOptions, device: torch.device) -> tuple[Any, Any]:
    """Load the network that the options name.

    Args:
        options: the checkpoint and the memory's settings.
        device: where it runs.
    Returns:
        A ``cutie.model.cutie.CUTIE`` in evaluation mode, and the configuration for its ``InferenceCore``.
    Raises:
        ExtraMissingError: rf-cutie is not installed.
        WeightsError: no such file, or not a Cutie's.
    """
    try:
        package = importlib.import_module("cutie.model.cutie")
    except ImportError as error:
        raise ExtraMissingError(
            f'cutie needs rf-cutie ({error}). Install it: pip install "vos-toolkit[cutie]"'
        ) from error
    # The package calls torch.cuda.amp.autocast, which works and warns at each of its places.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"cutie\.")
    state = _read(options.checkpoint)
    config = make_config(options, small=state["pix_feat_proj.weight"].shape[1] == SMALL_CHANNELS)
    with _without_imagenet_weights():
        network = package.CUTIE(config)
    _load_strictly(network, state, options.checkpoint)
    return network.to(device).eval().requires_grad_(False), config


def make_config(options: CutieOptions, *, small: bool) -> Any:
    """Read the package's own configuration, and set what the options say."""
    omegaconf: Any = importlib.import_module("omegaconf")
    read = omegaconf.OmegaConf.load
    folder = Path(importlib.import_module("cutie.config").__file__ or "").parent
    config, model = read(folder / "eval_config.yaml"), read(folder / "model" / "base.yaml")
    if small:
        model = omegaconf.OmegaConf.merge(model, read(folder / "model" / "small.yaml"))
    for key in ("defaults", "hydra", "datasets"):
        config.pop(key)
    config.model = model
    config.max_internal_size = options.max_internal_size
    config.mem_every = options.mem_every
    config.use_long_term = options.long_term
    return config


def _read(path: Path | None) -> dict[str, torch.Tensor]:
    path = check_files(path)
    weights.refuse_expanding(path)
    try:
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        state["pix_feat_proj.weight"].shape[1]
    except Exception as error:  # the unpickler fails in many ways on foreign bytes
        reason = (str(error).splitlines() or [""])[0].split(". ")[0]
        raise WeightsError(f"{path}: not a Cutie checkpoint ({type(error).__name__}: {reason}).") from error
    weights.refuse_unstored(state, str(path))
    return state


def _load_strictly(network: Any, state: dict[str, torch.Tensor], path: Path | None) -> None:
    # Heads for training losses alone are in some published files and not in others.
    expected = {key: value.shape for key, value in network.state_dict().items() if not key.startswith("aux_computer.")}
    wrong = [key for key, shape in expected.items() if getattr(state.get(key), "shape", None) != shape]
    if wrong:
        raise WeightsError(
            f'{path}: weights do not fit Cutie: {len(wrong)} tensors missing or of another shape, first "{wrong[0]}".'
        )
    network.load_state_dict({key: state[key] for key in expected}, strict=False)


@contextmanager
def _without_imagenet_weights() -> Iterator[None]:
    """Prevent the constructor from downloading backbone weights, which the checkpoint replaces."""
    resnet: Any = importlib.import_module("cutie.model.utils.resnet")
    originals = {name: getattr(resnet, name) for name in ("resnet18", "resnet50")}
    for name, original in originals.items():
        setattr(resnet, name, partial(_untrained, original))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(resnet, name, original)


def _untrained(make: Any, *, pretrained: bool = False, extra_dim: int = 0, model_dir: str | None = None) -> Any:
    return make(pretrained=False, extra_dim=extra_dim)

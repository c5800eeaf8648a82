"""Options of the three trackers; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vos.plugin import WeightsError, hub_folder, option
from vos.weights import read_config

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FILES = ("*.json", "*.safetensors")
"""Patterns of a model's files on the hub."""
NEEDED = ("config.json", "*.safetensors")
"""Files without which a folder is no such model."""
TRACKERS = {"sam2": "sam2", "edgetam": "edgetam", "sam3": "sam3-tracker"}
"""The tracker for each family of models, by the first part of ``model_type`` in their config.json."""
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class HfVideoOptions:
    """Options that the three trackers share.

    Attributes:
        family: of the models that fit, a key of ``TRACKERS``.
        model_class: the class of transformers that the weights are of.
        mean_std: of RGB values in [0, 1], as the model was trained.
    """

    family: ClassVar[str]
    model_class: ClassVar[str]
    mean_std: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]]

    model: str = option("", "A folder in transformers' layout, or a hub id.")
    encode_batch: int = option(1, "Number of frames encoded at once; more is faster on a GPU.")
    compile: bool = option(False, "Compile the image and memory encoders with torch.compile: minutes, then faster.")

    def __post_init__(self) -> None:
        if self.encode_batch < 1:
            raise ValueError(f"encode_batch is {self.encode_batch}, expected 1 or more")


@dataclass(frozen=True)
class Sam2Options(HfVideoOptions):
    """Options of ``sam2``."""

    family = "sam2"
    model_class = "Sam2VideoModel"
    mean_std = IMAGENET
    model: str = option("facebook/sam2.1-hiera-tiny", "SAM 2 or 2.1: a folder in transformers' layout, or a hub id.")


@dataclass(frozen=True)
class EdgeTamOptions(HfVideoOptions):
    """Options of ``edgetam``."""

    family = "edgetam"
    model_class = "EdgeTamVideoModel"
    mean_std = IMAGENET
    model: str = option("yonigozlan/EdgeTAM-hf", "EdgeTAM: a folder in transformers' layout, or a hub id.")


@dataclass(frozen=True)
class Sam3TrackerOptions(HfVideoOptions):
    """Options of ``sam3-tracker``."""

    family = "sam3"
    model_class = "Sam3TrackerVideoModel"
    mean_std = HALF
    model: str = option("facebook/sam3", "SAM 3: a folder in transformers' layout, or a hub id.")


def find_folder(options: HfVideoOptions, *, fetch: bool = True) -> Path:
    """Find or fetch the folder of the model that the options name.

    Args:
        options: which model.
        fetch: False uses no network.
    Returns:
        The folder.
    Raises:
        ExtraMissingError: ``huggingface_hub`` is not installed.
        WeightsError: the model cannot be found or fetched, or is one of another of these trackers.
    """
    folder = hub_folder(options.model, files=FILES, needed=NEEDED, extra="hf-video", fetch=fetch)
    held = str(read_config(folder / "config.json").get("model_type"))
    family = held.partition("_")[0]
    if family in TRACKERS and family != options.family:
        raise WeightsError(
            f'{options.model}: holds "{held[:60]}" weights, tracker {TRACKERS[options.family]} needs '
            f'"{options.family}" weights. Use -t {TRACKERS[family]} for them, or give another -O model=.'
        )
    return folder

"""Options of the three trackers; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vos.plugin import option

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FILES = ("*.json", "*.safetensors")
"""Patterns of a model's files on the hub."""
NEEDED = ("config.json", "*.safetensors")
"""Files without which a folder is no such model."""
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class HfVideoOptions:
    """Options that the three trackers share.

    Attributes:
        model_class: the class of transformers that the weights are of.
        mean_std: of RGB values in [0, 1], as the model was trained.
    """

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

    model_class = "Sam2VideoModel"
    mean_std = IMAGENET
    model: str = option("facebook/sam2.1-hiera-tiny", "SAM 2 or 2.1: a folder in transformers' layout, or a hub id.")


@dataclass(frozen=True)
class EdgeTamOptions(HfVideoOptions):
    """Options of ``edgetam``."""

    model_class = "EdgeTamVideoModel"
    mean_std = IMAGENET
    model: str = option("yonigozlan/EdgeTAM-hf", "EdgeTAM: a folder in transformers' layout, or a hub id.")


@dataclass(frozen=True)
class Sam3TrackerOptions(HfVideoOptions):
    """Options of ``sam3-tracker``."""

    model_class = "Sam3TrackerVideoModel"
    mean_std = HALF
    model: str = option("facebook/sam3", "SAM 3: a folder in transformers' layout, or a hub id.")

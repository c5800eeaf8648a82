"""The initializer "diffseg": a frame in, its segments out."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from vos.plugin import Frame, Image, LabelMap, OptionError, Runtime, Size
from vos_diffseg.options import DiffSegOptions
from vos_diffseg.segment import segment
from vos_diffseg.stable_diffusion import StableDiffusion

MAX_SEGMENTS = 254


class DiffSeg:
    """Divides a frame into segments with Stable Diffusion's self-attention."""

    def __init__(self, options: DiffSegOptions, runtime: Runtime) -> None:
        """Load the model.

        Args:
            options: the method's settings.
            runtime: ``precision`` is that of the model (``"auto"`` is fp32); the steps after it are float32.
        Raises:
            ExtraMissingError: diffusers or transformers is not installed.
            WeightsError: the model cannot be loaded.
            OptionError: the model has fewer time steps than ``options.timestep``.
        """
        device = runtime.torch_device()
        self.options, self.seed = options, runtime.seed
        self.model = StableDiffusion(options.model, options.variant, device, runtime.torch_dtype())
        steps = int(self.model.scheduler.config.num_train_timesteps)
        if options.timestep >= steps:
            raise OptionError(f"timestep is {options.timestep}, this model has {steps}: expected 0 to {steps - 1}.")

    def initialize(self, frame: Frame) -> LabelMap:
        """Segment a frame.

        Args:
            frame: any size; it is made square for the model as ``options.fit`` says.
        Returns:
            uint8 (H, W): ids from 1, no background; beyond 254 segments the smallest become 0.
        """
        options = self.options
        image = square_image(frame.image, options.image_size, options.fit)
        noise_seed = self.seed if options.noise else None
        attentions = self.model.attention_maps(image, options.timestep, noise_seed)
        height, width = frame.size
        longest = max(frame.size)
        view = frame.size if options.fit == "stretch" else (longest, longest)
        with torch.inference_mode():
            segments = segment(attentions, view, options, self.seed)
        return number_segments(segments[:height, :width].cpu().numpy())

    def with_clusters(self, clusters: int) -> DiffSeg:
        """The same model, with K-means into a given number of clusters in place of merging.

        Args:
            clusters: from 1 to 254; an image's true number of classes gives the paper's K-Means-S.
        Returns:
            Another initializer on the same loaded model.
        """
        other = copy.copy(self)
        other.options = replace(self.options, clusters=clusters)
        return other


def square_image(image: Image, side: int, fit: str) -> Tensor:
    """Make a frame square for the model.

    Args:
        image: uint8 (H, W, 3).
        side: of the square, pixels.
        fit: ``"stretch"``, or ``"letterbox"``: keep the shape, at the top left, grey below or beside.
    Returns:
        float32 (3, side, side) in [-1, 1].
    """
    scaled_wh = (side, side) if fit == "stretch" else _letterbox_wh((image.shape[0], image.shape[1]), side)
    resized = np.asarray(PillowImage.fromarray(image).resize(scaled_wh, PillowImage.Resampling.BICUBIC))
    square = torch.zeros(3, side, side)
    square[:, : scaled_wh[1], : scaled_wh[0]] = torch.from_numpy(resized.copy()).permute(2, 0, 1) / 127.5 - 1
    return square


def _letterbox_wh(size: Size, side: int) -> tuple[int, int]:
    height, width = size
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def number_segments(segments: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> LabelMap:
    """Number segments from 1 in the order of their indices, the smallest beyond 254 left out.

    Args:
        segments: int64 (H, W), indices from 0.
    Returns:
        uint8 (H, W).
    """
    counts = np.bincount(segments.ravel())
    largest = np.argsort(-counts, kind="stable")[:MAX_SEGMENTS]
    kept = np.sort(largest[counts[largest] > 0])
    ids = np.zeros(len(counts), dtype=np.uint8)
    ids[kept] = np.arange(1, len(kept) + 1)
    return ids[segments]

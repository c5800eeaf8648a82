"""Options of the initializer "diffseg", validated before a model is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vos.plugin import option

SIDES = (64, 32, 16, 8)
"""Sides of Stable Diffusion's attention grids for a 512-pixel image, in the order of ``weights``."""


@dataclass(frozen=True)
class DiffSegOptions:
    """The options of the initializer "diffseg"."""

    model: str = option(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "Stable Diffusion 1.x or 2.x: a folder in diffusers' layout, or a hub id.",
    )
    variant: str = option("", "Variant of the model's files, such as fp16; empty for the plain ones.")
    threshold: float = option(1.1, "Attention maps whose divergence is below it merge; higher gives fewer segments.")
    iterations: int = option(3, "Merge iterations, 2 or more.")
    points: int = option(16, "Anchors along each side of the frame.")
    weights: str = option(
        "resolution",
        "Weight of each attention resolution: resolution (in proportion to the side), uniform, "
        "or one number for each of 64,32,16,8.",
    )
    timestep: int = option(300, "Time step of the one diffusion pass, 0 to 999.")
    noise: bool = option(True, "Add that time step's noise to the image's latent; false as the official code.")
    refine: bool = option(False, "Refine the merged maps with K-means.")
    clusters: int = option(0, "Segment with plain K-means into so many clusters in place of merging; 0 merges.")
    half_precision_merge: bool = option(
        False, "Compute the first merge in half precision, as the official code: it can lose segments."
    )
    fit: Literal["stretch", "letterbox"] = option("stretch", "How the frame is made square for the model.")
    image_size: int = option(512, "Side of that square in pixels, a multiple of 64; memory grows with its 4th power.")

    def __post_init__(self) -> None:
        if not self.threshold > 0:
            raise ValueError(f"threshold is {self.threshold}, expected more than 0")
        if self.iterations < 2:
            raise ValueError(f"iterations is {self.iterations}, expected 2 or more")
        if self.image_size < 64 or self.image_size % 64:
            raise ValueError(f"image_size is {self.image_size}, expected a multiple of 64")
        if not 2 <= self.points <= self.image_size // 8:
            raise ValueError(f"points is {self.points}, expected 2 to {self.image_size // 8}")
        if not 0 <= self.timestep <= 999:
            raise ValueError(f"timestep is {self.timestep}, expected 0 to 999")
        if not 0 <= self.clusters <= 254:
            raise ValueError(f"clusters is {self.clusters}, expected 0 to 254")
        self.resolution_weights()

    def resolution_weights(self) -> tuple[float, ...] | None:
        """Weights for the sides from the finest on; None for 'in proportion to the side'.

        Raises:
            ValueError: ``weights`` is none of its words, nor four numbers that are not all 0.
        """
        if self.weights == "resolution":
            return None
        if self.weights == "uniform":
            return (1 / len(SIDES),) * len(SIDES)
        try:
            numbers = tuple(float(text) for text in self.weights.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != len(SIDES) or not math.isfinite(sum(numbers)) or min(numbers) < 0 or sum(numbers) <= 0:
            raise ValueError(
                f'weights is "{self.weights}", expected resolution, uniform or four numbers such as 1,0,0,0'
            )
        return tuple(number / sum(numbers) for number in numbers)

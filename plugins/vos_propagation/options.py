"""The options of the propagation tracker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vos.plugin import option


@dataclass(frozen=True)
class Companion:
    """A network whose features cells are compared by beside those of EfficientNet-Lite0.

    Attributes:
        network: a name in ``efficientnet_lite.VARIANTS``.
        scale: how large the image is that it sees, where EfficientNet-Lite0 sees 1.
        weight: what its features count, where those of EfficientNet-Lite0 count 1.
    """

    network: str
    scale: float
    weight: float


@dataclass(frozen=True)
class Preset:
    """What ``quality`` stands for.

    Attributes:
        side: short side that frames are worked on at, pixels.
        fits: whether the side goes by the objects, as ``side_for`` gives it.
        context: past frames that vote beside the annotated ones, a third of them further back.
        radius: how far a window reaches beyond its tile, an even number of cells of 8 px.
        voters: cells above the best block but so many vote.
        head: whether the learned head finishes the votes.
        companion: what else cells are compared by.
    """

    side: int
    fits: bool
    context: int
    radius: int
    voters: int
    head: bool
    companion: Companion | None = None


# Deeper, and on a smaller image: it sees more of what is around a cell.
COMPANION = Companion("lite1", scale=0.75, weight=0.7)
PRESETS = {
    "fast": Preset(side=448, fits=True, context=6, radius=8, voters=8, head=True),
    "balanced": Preset(side=544, fits=True, context=9, radius=12, voters=8, head=True),
    # With a companion, small objects gain nothing by a larger size.
    "best": Preset(side=640, fits=False, context=12, radius=16, voters=8, head=True, companion=COMPANION),
}


@dataclass(frozen=True)
class PropagationOptions:
    """What a user may choose."""

    quality: Literal["fast", "balanced", "best"] = option(
        "balanced",
        help="frames are worked on at 448 px (fast) or 544 px, more where an object is small, or 640 px (best); best "
        "compares by a second network's features too, fast remembers less; docs give figures",
    )
    backbone: str = option(
        "efficientnet-lite0",
        help="features: the embedded efficientnet-lite0, or a ViT (DINO, DINOv2, DINOv3): the folder of a transformers "
        "or timm model, or TIMM_NAME:FILE such as vit_small_patch8_224.dino:dino_deitsmall8_pretrain.pth, "
        "which is tracked by DINO's published protocol whatever the other options say",
    )
    side: int | None = option(
        None,
        help="short side in pixels that frames are worked on at, whatever the preset and the objects; smaller ones are "
        "enlarged, at most four times",
    )
    context: int | None = option(None, help="how many past frames vote, in place of the preset's")
    head: bool = option(True, help="finish the votes with the learned head; false leaves plain label propagation")

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 16:
            raise ValueError(f"side is {self.side}, expected 16 or more pixels")
        if self.context is not None and self.context < 1:
            raise ValueError(f"context is {self.context}, expected 1 or more frames")

    def preset(self) -> Preset:
        """Give the preset, with the values that were set one by one in place of its own."""
        base = PRESETS[self.quality]
        return Preset(
            side=base.side if self.side is None else self.side,
            fits=base.fits and self.side is None,
            context=base.context if self.context is None else self.context,
            radius=base.radius,
            voters=base.voters,
            head=base.head and self.head,
            companion=base.companion,
        )

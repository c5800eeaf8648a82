"""Options of the tracker, and the settings of each stage: one frozen dataclass a stage, each field documented."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from vos.plugin import option

OPTIONAL_STAGES = (
    "flow",
    "appearance",
    "distractors",
    "redetection",
    "decoder",
    "static_fragments",
    "detached_fragments",
    "identity_swaps",
    "edges",
)
"""Stages that ``-O stages=-NAME`` can leave out, in the order in which they run."""


@dataclass(frozen=True)
class SecondaryBackbone:
    """A network whose features are compared beside those of EfficientNet-Lite0.

    Attributes:
        network: a name in ``efficientnet_lite.VARIANTS``.
        scale: the size of the image that it sees; EfficientNet-Lite0 sees 1.
        weight: of its features; those of EfficientNet-Lite0 have 1.
    """

    network: str
    scale: float
    weight: float


@dataclass(frozen=True)
class MatchingConfig:
    """Label votes: each cell takes the labels of the most similar cells of the memory.

    Attributes:
        window_radius: how far a query tile's window reaches beyond the tile, an even number of 8-px cells.
        top_k: a cell takes the labels of the cells that are more similar than the k-th best block.
        search_radius: cells of 8 px beyond an object's last place that ask for votes.
    """

    window_radius: int = 12
    top_k: int = 8
    search_radius: int = 5


@dataclass(frozen=True)
class MemoryConfig:
    """Which frames are remembered, and what is learnt from them.

    Attributes:
        context: past frames that vote beside the annotated ones, a third of them spread further back.
        anchors_per_object: annotated frames of an object that are remembered, 2 or more: the first and the latest.
        match_dimensions: principal axes of the annotated frame's features by which cells are compared.
        anchor_key_gain: similarity to annotated frames is multiplied by this, since recent frames look more like the
            current one merely for being recent, and may be wrong.
        rejected_score: a cell that an object claims is not learnt if its score by the annotated frames is lower,
        changed_share: unless that holds for more than this share of the object, whose appearance has then changed.
        learn_every: the target model learns from every so many frames.
        view_every: views of well seen objects are kept from every so many frames.
        spread_every: every so many frames one is moved to the spread memory.
        newcomer_top_k: cells that decide whether an earlier frame shows an object that is annotated later.
    """

    context: int = 9
    anchors_per_object: int = 4
    match_dimensions: int = 96
    anchor_key_gain: float = 1.08
    rejected_score: float = 0.2
    changed_share: float = 0.4
    learn_every: int = 2
    view_every: int = 5
    spread_every: int = 8
    newcomer_top_k: int = 8


@dataclass(frozen=True)
class DecoderConfig:
    """The learned decoder.

    Attributes:
        likely_share: cells with this share of an object's votes or warped mask are in the box that is decoded.
    """

    likely_share: float = 0.25


@dataclass(frozen=True)
class PipelineConfig:
    """All settings of a tracker.

    Attributes:
        side: short side of the frames that are tracked, pixels.
        adapt_resolution: whether the side follows the size of the objects, as ``side_for_objects`` does.
        secondary_backbone: a second network whose features are compared too.
        left_out: names of stages that do not run.
    """

    side: int
    adapt_resolution: bool = True
    secondary_backbone: SecondaryBackbone | None = None
    left_out: frozenset[str] = frozenset()
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


PRESETS = {
    "fast": PipelineConfig(side=448, matching=MatchingConfig(window_radius=8), memory=MemoryConfig(context=6)),
    "balanced": PipelineConfig(side=544),
    # Deeper and on a smaller image, the second network sees more of what is around a cell. With it, small objects gain
    # nothing by a larger size.
    "best": PipelineConfig(
        side=640,
        adapt_resolution=False,
        secondary_backbone=SecondaryBackbone("lite1", scale=0.75, weight=0.7),
        matching=MatchingConfig(window_radius=16),
        memory=MemoryConfig(context=12),
    ),
}


@dataclass(frozen=True)
class PropagationOptions:
    """What a user may choose."""

    quality: Literal["fast", "balanced", "best"] = option(
        "balanced",
        help="frames are worked on at 448 px (fast) or 544 px, more where an object is small, or 640 px (best); best "
        "compares by a second network's features too, fast remembers less; docs give figures",
    )
    side: int | None = option(
        None,
        help="short side in pixels that frames are worked on at, whatever the preset and the objects; smaller ones are "
        "enlarged, at most four times",
    )
    context: int | None = option(None, help="how many past frames vote, in place of the preset's")
    stages: str = option(
        "",
        help="stages to leave out, each with a minus sign, separated by commas, such as -distractors,-edges; one of "
        + ", ".join(OPTIONAL_STAGES),
    )

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 16:
            raise ValueError(f"side is {self.side}, expected 16 or more pixels")
        if self.context is not None and self.context < 1:
            raise ValueError(f"context is {self.context}, expected 1 or more frames")
        self._left_out()

    def config(self) -> PipelineConfig:
        """Return the preset's settings with the values that were set one by one in place of its own."""
        config = replace(PRESETS[self.quality], left_out=self._left_out())
        if self.side is not None:
            config = replace(config, side=self.side, adapt_resolution=False)
        if self.context is not None:
            config = replace(config, memory=replace(config.memory, context=self.context))
        return config

    def _left_out(self) -> frozenset[str]:
        names = [part.strip() for part in self.stages.split(",") if part.strip()]
        for name in names:
            if not name.startswith("-") or name[1:] not in OPTIONAL_STAGES:
                raise ValueError(f"stages has {name!r}, expected -NAME with a NAME of {', '.join(OPTIONAL_STAGES)}")
        return frozenset(name[1:] for name in names)


@dataclass(frozen=True)
class DinoOptions:
    """What a user of the tracker ``dino`` may choose."""

    backbone: str = option(
        "",
        help="required: the folder of a transformers or timm model (ViT, DINO, DINOv2, DINOv3), or TIMM_NAME:FILE such "
        "as vit_small_patch8_224.dino:dino_deitsmall8_pretrain.pth",
    )

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
    "verification",
    "crossings",
    "edges",
)
"""Stages that ``-O stages=-NAME`` can leave out, in the order in which they run."""


@dataclass(frozen=True)
class MatchingConfig:
    """Label votes: each cell takes the labels of the most similar cells of the memory frames.

    Attributes:
        window_radius: a query tile is compared with a window that reaches this many 8-px cells beyond the tile; even.
        search_radius: cells within this many 8-px cells of an object's last position receive votes.
        anchor_blocks: blocks of 2x2 cells that a query block selects from the annotated frames.
        other_blocks: blocks that it selects from all other memory frames.
        top_k: the selected cells that are more similar than the k-th best block vote.
        vote_margin: a cell this much less similar (cosine) than the k-th best block has vote weight 0.
    """

    window_radius: int = 12
    search_radius: int = 5
    anchor_blocks: int = 8
    other_blocks: int = 24
    top_k: int = 8
    vote_margin: float = 0.01


@dataclass(frozen=True)
class MemoryConfig:
    """The frames in memory, and what the target model learns from them.

    Attributes:
        context: number of past frames that vote beside the annotated ones; a third of them are spread further back.
        anchors_per_object: number of annotated frames kept for an object, 2 or more: the first and the latest ones.
        match_dimensions: cells are compared by this many principal axes of the annotated frame's features.
        anchor_key_gain: factor on the similarity to annotated frames. Recent frames are more similar to the current
            frame only because they are recent, and their labels may be wrong.
        learn_every: the target model learns from every n-th frame.
        learning_decay: the weight of earlier frames in the target model is multiplied by this with each learnt frame.
        learning_rate: weight of a new frame in the target model; an annotated frame has weight 1.
        small_object_cells: the target model gives less weight to objects of fewer 8-px cells than about this.
        view_every: every n-th frame adds a view of each well visible object for redetection.
        spread_every: every n-th frame moves from the recent frames to the spread ones.
        newcomer_top_k: number of cells that decide whether an earlier frame shows an object annotated later.
    """

    context: int = 9
    anchors_per_object: int = 4
    match_dimensions: int = 96
    anchor_key_gain: float = 1.08
    learn_every: int = 2
    learning_decay: float = 0.9
    learning_rate: float = 0.15
    small_object_cells: int = 20
    view_every: int = 5
    spread_every: int = 8
    newcomer_top_k: int = 8


@dataclass(frozen=True)
class DistractorConfig:
    """Pairs of objects that look alike, and the division of their votes by position.

    Attributes:
        min_similarity: two objects are a pair if the mean similarity (cosine) of their cells exceeds this,
        full_similarity: and have appearance similarity 1 from this mean similarity on.
        max_compared_cells: at most this many cells of an object, evenly sampled, are compared.
        prior_floor: spatial prior of a cell outside the warped mask, which may be wrong.
        prior_radius: the warped mask is averaged over this many 4-px cells in each direction.
    """

    min_similarity: float = 0.5
    full_similarity: float = 0.58
    max_compared_cells: int = 512
    prior_floor: float = 0.03
    prior_radius: int = 2


@dataclass(frozen=True)
class CrossingConfig:
    """Points on two look-alikes in contact, and the division of their cells once they are apart.

    Attributes:
        reach: cells (of 4 px) of two objects that are at most this many cells apart touch.
        flow_error: a point is not seen where the flow there and back leads this many cells or more away from it,
        velocity_change: or where its velocity would change by this many cells a frame
        velocity_change_share: and this share of its velocity.
        frames_unseen: a point that is not seen keeps its velocity, and ends after this many frames.
        points_left: cells are divided while one of the objects has at least this share of its points left.
        part_share: a part of the cells is divided if it has at least this share of the smaller object's usual area.
        lead: two parts differ if their points per cell, of one object less those of the other, differ by more than this
            share of the most points per cell; a part of a smaller difference than this belongs to either.
        gain: how much nearer, in logarithms, the areas must come to the usual ones.
    """

    reach: int = 2
    flow_error: float = 1.0
    velocity_change: float = 1.5
    velocity_change_share: float = 0.75
    frames_unseen: int = 8
    points_left: float = 0.15
    part_share: float = 0.1
    lead: float = 0.25
    gain: float = 0.7


@dataclass(frozen=True)
class EvidenceConfig:
    """Evidence that a 16-px cell shows an object: a linear function of three measurements, a logit.

    Source of the weights: logistic regression on clips made from the development split, docs/propagation-log.md.

    Attributes:
        object_weight: weight of the cell's similarity to the object's cells in its views.
        surroundings_weight: weight of the cell's similarity to the other cells of those views.
        score_weight: weight of the target model's score.
        bias: constant term.
        least_surroundings: similarity to the surroundings is hardly ever lower than this (cosine),
        usual_surroundings: and has this mean.
        min_evidence: a cell whose evidence is below this with ``least_surroundings`` is not compared with the
            surroundings, which saves time; it gets the evidence with ``usual_surroundings``.
        max_object_cells: at most this many object cells are stored in a view, evenly sampled.
        max_surroundings_cells: at most this many other cells are stored in a view.
    """

    object_weight: float = 21.7
    surroundings_weight: float = -6.3
    score_weight: float = 3.0
    bias: float = -7.7
    least_surroundings: float = 0.3
    usual_surroundings: float = 0.6
    min_evidence: float = -2.0
    max_object_cells: int = 128
    max_surroundings_cells: int = 384


@dataclass(frozen=True)
class RedetectionConfig:
    """Search for lost objects in the whole frame, and verification of decoded masks; evidence is a logit.

    Attributes:
        evidence: how the evidence of a cell is computed.
        min_area_s8: an object of fewer 8-px cells than this is absent.
        shrunk_share: an object is searched for if its area falls below this share of its usual area.
        mask_similarity_drop: a decoded mask is rejected if its similarity to the object's views falls by more than this
            (cosine): after a cut, or where something passes in front,
        certain_prob: unless the mean probability of its cells is at least this: a blurred object is unlike its views
            too, but the decoder is certain of it.
        latest_views: number of views of an object kept beside those of its annotations.
        visible_score: an object has a new view only if the target model's mean score of its cells is at least this.
        visible_share: the evidence of a candidate is the mean of its best cells, this share of the object's area.
        accept_evidence: a candidate with at least this evidence is accepted,
        max_chroma_distance: unless its chroma is further than this from that of the object's views.
    """

    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    min_area_s8: float = 1.5
    shrunk_share: float = 0.3
    mask_similarity_drop: float = 0.2
    certain_prob: float = 0.88
    latest_views: int = 2
    visible_score: float = 0.7
    visible_share: float = 0.2
    accept_evidence: float = 3.0
    max_chroma_distance: float = 30.0


@dataclass(frozen=True)
class DecoderConfig:
    """The learned decoder.

    Attributes:
        likely_share: the decoded box holds all cells where an object's votes or warped mask exceed this share.
    """

    likely_share: float = 0.25


@dataclass(frozen=True)
class PipelineConfig:
    """All settings of a tracker.

    Attributes:
        side: short side of the frames at the working size, pixels.
        adapt_resolution: whether ``side_for_objects`` adapts the side to the size of the objects.
        left_out: names of stages that do not run.
        matching: settings of the stage of that name, as are the fields after it.
    """

    side: int
    adapt_resolution: bool = True
    left_out: frozenset[str] = frozenset()
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    distractors: DistractorConfig = field(default_factory=DistractorConfig)
    redetection: RedetectionConfig = field(default_factory=RedetectionConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    crossings: CrossingConfig = field(default_factory=CrossingConfig)


PRESETS = {
    "fast": PipelineConfig(side=416, matching=MatchingConfig(window_radius=8), memory=MemoryConfig(context=6)),
    "balanced": PipelineConfig(side=544),
    "best": PipelineConfig(
        side=640,
        adapt_resolution=False,
        matching=MatchingConfig(window_radius=16),
        memory=MemoryConfig(context=12),
    ),
}


@dataclass(frozen=True)
class PropagationOptions:
    """Options of the tracker ``propagation``."""

    quality: Literal["fast", "balanced", "best"] = option(
        "balanced",
        help="frames are worked on at 416 px (fast) or 544 px, more where an object is small, or 640 px (best); fast "
        "remembers fewer frames and best more; docs give figures",
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
    """Options of the tracker ``dino``."""

    backbone: str = option(
        "",
        help="required: the folder of a transformers or timm model (ViT, DINO, DINOv2, DINOv3), or TIMM_NAME:FILE such "
        "as vit_small_patch8_224.dino:dino_deitsmall8_pretrain.pth",
    )

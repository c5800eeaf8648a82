"""Options of the Segment Anything initializers; importing them imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vos.plugin import option

Model = Literal["vit_b", "vit_l", "vit_h", "vit_t"]
Granularity = Literal["best", "whole", "part", "subpart"]

_GRANULARITY = "Which of the three masks: the best by predicted IoU, or by size: whole, part, subpart."


@dataclass(frozen=True)
class SamOptions:
    """Options of the model that all Segment Anything initializers share."""

    checkpoint: Path | None = option(None, "Segment Anything or MobileSAM checkpoint file; its type is recognised.")
    model: Model = option("vit_b", "Known model to take from the cache folder if no checkpoint is given.")
    cache_embeddings: bool = option(False, "Keep image embeddings in the cache folder for later runs.")

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.model != "vit_b":
            raise ValueError(
                f"checkpoint ({self.checkpoint}) and model ({self.model}) are both given; "
                "a checkpoint's type is recognised, so leave out model"
            )


@dataclass(frozen=True)
class PointsOptions(SamOptions):
    """Options of ``sam-points``."""

    points: str = option("", "Points as id:x,y,+ or id:x,y,- (beside the object), with ; between them; pixels.")
    granularity: Granularity = option("best", _GRANULARITY)


@dataclass(frozen=True)
class BoxesOptions(SamOptions):
    """Options of ``sam-boxes``."""

    boxes: str = option("", "Boxes as id:x0,y0,x1,y1 with ; between them; pixels, x1 and y1 included.")
    granularity: Granularity = option("best", _GRANULARITY)
    detections: Path | None = option(None, "COCO JSON file with boxes that another program detected, instead of boxes.")
    min_score: float = option(0.3, "With detections: boxes with a lower score are left out.")
    categories: str = option("", "With detections: names or numbers of categories to keep, with ; between them.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.isnan(self.min_score):
            raise ValueError("min_score is nan, expected a number")


@dataclass(frozen=True)
class MaskOptions(SamOptions):
    """Options of ``sam-mask``."""

    mask: Path | None = option(None, "Rough label map of the frame, its objects to be refined.")


@dataclass(frozen=True)
class EverythingOptions(SamOptions):
    """Options of ``sam-everything``."""

    max_objects: int = option(20, "How many objects at most, the largest first.")
    points_per_side: int = option(32, "Points are asked for on a grid of this many by this many.")
    predicted_iou: float = option(0.88, "Masks that the model rates lower are dropped.")
    stability: float = option(0.95, "Masks are dropped whose IoU at thresholds one logit up and down is lower.")
    min_share: float = option(0.0005, "Smallest share of the frame that an object has.")
    max_share: float = option(0.5, "Largest share of the frame that an object has; larger is background.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.max_objects <= 254:
            raise ValueError(f"max_objects is {self.max_objects}, expected 1 to 254")
        for name in ("predicted_iou", "stability", "min_share", "max_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if self.points_per_side < 1:
            raise ValueError(f"points_per_side is {self.points_per_side}, expected 1 or more")


@dataclass(frozen=True)
class EdgesOptions(SamOptions):
    """Options of ``sam-edges``."""

    points_per_side: int = option(16, "Points are asked for on a grid of this many by this many.")
    threshold: float = option(0.1, "Strength, above 0 up to 1, from which a pixel is an edge.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points_per_side < 1:
            raise ValueError(f"points_per_side is {self.points_per_side}, expected 1 or more")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, expected above 0, up to 1")

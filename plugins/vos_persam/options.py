"""Options of the PerSAM trackers; importing them imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vos.plugin import option
from vos_sam.options import SamOptions

NOT_IN_OFFICIAL_CODE = ("box", "center", "negative", "guided", "memory", "found", "lost")
"""Options that the official video scripts lack, so that ``compat`` refuses them."""


@dataclass(frozen=True)
class PersamOptions(SamOptions):
    """Options of ``persam``; the defaults are the official code's, except where it fails."""

    compat: bool = option(False, "Reproduce the official code step by step, its faults included.")
    topk: int = option(2, "Number of positive points: the most similar places of the frame.")
    box: bool = option(True, "Prompt with the object's last box.")
    margin: int = option(10, "Pixels by which the last box is expanded on each side.")
    center: bool = option(True, "Prompt with the centre of the last box.")
    negative: bool = option(False, "Prompt with the least similar place of the frame as a negative point.")
    guided: bool = option(False, "Guide the first decoding with the similarity map and the target embedding.")
    memory: float = option(0.0, "Share of each new frame in the running average of the target embedding, 0 to 1.")
    found: float = option(0.5, "Similarity at which a lost object is found again: 0 as background, 1 as at first.")
    lost: float = option(0.25, "Similarity below which an object counts as lost, on the same scale.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.topk < 1:
            raise ValueError(f"topk is {self.topk}, expected 1 or more")
        if self.margin < 0:
            raise ValueError(f"margin is {self.margin}, expected 0 or more pixels")
        if not 0 <= self.memory <= 1:
            raise ValueError(f"memory is {self.memory}, expected 0 to 1")
        for name in ("found", "lost"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number")
        unused = [name for name in NOT_IN_OFFICIAL_CODE if getattr(self, name) != getattr(type(self), name)]
        if self.compat and unused:
            raise ValueError(
                f"compat=true has no use for {', '.join(unused)}: the official code gives no such choice. "
                f"Leave out compat or {' and '.join(unused)}."
            )


@dataclass(frozen=True)
class PersamFOptions(PersamOptions):
    """Options of ``persam-f``: as ``persam``, with two mask weights learnt for each object."""

    topk: int = option(1, "Number of positive points: the most similar places of the frame.")
    epochs: int = option(800, "Steps of the optimisation of the mask weights.")
    rate: float = option(4e-4, "Learning rate at the start; it falls to 0 along a cosine.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1 or not 0 < self.rate < math.inf:
            raise ValueError(f"epochs is {self.epochs} and rate {self.rate}, expected both above 0")

"""The options of the propagation tracker."""

from __future__ import annotations

from dataclasses import dataclass

from vos import option


@dataclass(frozen=True)
class PropagationOptions:
    """What a user may choose."""

    side: int = option(480, help="short side in pixels that frames are worked on at; larger frames are scaled down")
    context: int = option(7, help="how many recent frames vote, besides each object's annotated frame")

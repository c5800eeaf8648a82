"""Options of the initializers; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vos.plugin import option


@dataclass(frozen=True)
class GrabCutOptions:
    """Options of ``grabcut``; an object may have several kinds of prompts."""

    boxes: str = option("", "Boxes as id:x0,y0,x1,y1 with ; between them; pixels, x1 and y1 included.")
    points: str = option("", "Points as id:x,y,+ or id:x,y,- (beside the object), with ; between them; pixels.")
    scribbles: str = option("", "Strokes as id:x,y x,y ... + or - (beside the object), with ; between them; pixels.")
    mask: Path | None = option(None, "Rough mask, drawn in any colours on black or with a transparent background.")
    refine: bool = option(True, "Fit a rough mask to the image's edges; false takes it as it is.")


@dataclass(frozen=True)
class ClickOptions:
    """Options of ``clicks``; an object may have several kinds of prompts."""

    boxes: str = option("", "Boxes as id:x0,y0,x1,y1 with ; between them; pixels, x1 and y1 included.")
    points: str = option("", "Points as id:x,y,+ or id:x,y,- (beside the object), with ; between them; pixels.")
    scribbles: str = option("", "Strokes as id:x,y x,y ... + or - (beside the object), with ; between them; pixels.")
    mask: Path | None = option(None, "Mask of ids that the marks correct; objects without marks stay as they are.")


@dataclass(frozen=True)
class PolygonOptions:
    """Options of ``polygon``."""

    polygons: str = option("", "Polygons as id:x,y x,y x,y ... with ; between them; pixels.")

"""Options of "grounded-sam" and "sam3-text"; importing them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vos.plugin import OptionError, option, split_phrases

MAX_OBJECTS = 254


@dataclass(frozen=True)
class TextOptions:
    """Options that the two initializers share."""

    text: str = option("", 'What to find: phrases with ; between them, such as "dog; red ball".')
    max_per_phrase: int = option(0, "So many objects of a phrase at most, the likeliest; 0 for no limit.")
    nms: float = option(0.7, "Of two boxes whose IoU is larger than this, the less likely is left out.")
    threshold: float | None = option(
        None, "Boxes below this probability are left out; the default is the detector's: 0.35, and 0.2 for OWLv2."
    )

    def __post_init__(self) -> None:
        if any("\ud800" <= letter <= "\udfff" for letter in self.text):
            raise ValueError(f"text is {self.text!a}, which is not UTF-8")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, expected 0 to 1")
        if self.max_per_phrase < 0:
            raise ValueError(f"max_per_phrase is {self.max_per_phrase}, expected 0 or more")
        if not 0 <= self.nms <= 1:
            raise ValueError(f"nms is {self.nms}, expected 0 to 1")

    def phrases(self, name: str) -> tuple[str, ...]:
        """Split the text, or raise OptionError that names the initializer."""
        phrases = split_phrases(self.text)
        if not phrases:
            raise OptionError(f'{name} needs a text: --text "dog; red ball".')
        return phrases


@dataclass(frozen=True)
class GroundedSamOptions(TextOptions):
    """Options of ``grounded-sam``."""

    model: str = option(
        "IDEA-Research/grounding-dino-tiny", "Grounding DINO or OWLv2: a folder in transformers' layout, or a hub id."
    )
    checkpoint: Path | None = option(None, "Segment Anything or MobileSAM checkpoint file; its type is recognised.")
    sam: Literal["vit_b", "vit_l", "vit_h", "vit_t"] = option(
        "vit_b", "Known Segment Anything to take from the cache folder if no checkpoint is given."
    )


@dataclass(frozen=True)
class Sam3TextOptions(TextOptions):
    """Options of ``sam3-text``."""

    model: str = option("facebook/sam3", "SAM 3: a folder in transformers' layout, or a hub id.")
    threshold: float = option(0.5, "Objects below this probability are left out.")

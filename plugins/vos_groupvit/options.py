"""Options of the initializer "groupvit", validated before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vos.plugin import option, split_phrases

BACKGROUND = "background; sky; grass; ground; road; wall; floor; water; tree; building; mountain; fence"
"""Default background phrases; see ``GroupVitOptions.background``."""


@dataclass(frozen=True)
class GroupVitOptions:
    """The options of the initializer "groupvit"."""

    text: str = option("", 'What to find: phrases between semicolons, such as "dog; person"; one object id a phrase.')
    instances: bool = option(False, "One object id for each connected piece of a phrase's area.")
    background: str = option(
        BACKGROUND, "Phrases that compete with the text and become background; empty for none, then the text takes all."
    )
    threshold: float = option(0.95, "Background where no phrase is likelier than this (or than the likeliest group).")
    templates: Literal["simple", "many"] = option(
        "simple", "Sentences that a phrase is put in: simple is 'a photo of a ...', many averages seven."
    )
    likeliest: int = option(
        0,
        "Only so many phrases, the likeliest for the whole frame, may be in it (the official evaluation: 5); "
        "0 takes 5 and all of the text.",
    )
    model: str = option("nvidia/groupvit-gcc-yfcc", "A GroupViT folder in transformers' layout, or a hub id.")
    short_side: int = option(448, "The frame's shorter side for the model, in pixels.")
    min_area: float = option(0.001, "With instances: pieces below this fraction of the frame are left out.")

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, expected 0 to 1")
        if not 0 <= self.min_area < 1:
            raise ValueError(f"min_area is {self.min_area}, expected 0 to 1")
        if self.short_side < 32:
            raise ValueError(f"short_side is {self.short_side}, expected 32 or more")
        if self.likeliest < 0:
            raise ValueError(f"likeliest is {self.likeliest}, expected 0 or more")
        for name, text in (("text", self.text), ("background", self.background)):
            if any("\ud800" <= letter <= "\udfff" for letter in text):
                raise ValueError(f"{name} is {text!a}, which is not UTF-8")
        if len(self.phrases()) > 254:
            raise ValueError(f"text has {len(self.phrases())} phrases, expected at most 254")

    def phrases(self) -> tuple[str, ...]:
        """The phrases to segment, in the order of object ids."""
        return split_phrases(self.text)

    def background_phrases(self) -> tuple[str, ...]:
        """The background phrases, without those that are also phrases to segment."""
        found = {phrase.lower() for phrase in self.phrases()}
        return tuple(phrase for phrase in split_phrases(self.background) if phrase.lower() not in found)

"""The initializer "groupvit": segment the objects that a text names."""

from __future__ import annotations

import logging

import cv2
import numpy as np

from vos.plugin import EmptyMaskError, Frame, LabelMap, OptionError, Runtime
from vos_groupvit.grouping import TOP_PHRASES, phrase_map
from vos_groupvit.model import GroupVit
from vos_groupvit.options import GroupVitOptions

logger = logging.getLogger("vos.groupvit")

MAX_OBJECTS = 254
MAX_NAMED = 5
"""How many phrases a message names."""


class TextInitializer:
    """Segments the objects that a text names."""

    def __init__(self, options: GroupVitOptions, runtime: Runtime) -> None:
        """Load the model and read the text.

        Args:
            options: the text and the method's settings.
            runtime: ``precision`` is that of the model (``"auto"`` is fp32).
        Raises:
            OptionError: no text.
            ExtraMissingError: transformers is not installed.
            WeightsError: the model cannot be found, fetched or loaded.
        """
        self.phrases = options.phrases()
        if not self.phrases:
            raise OptionError('groupvit needs a text: --text "dog; person", or -O text="dog; person".')
        self.options = options
        self.model = GroupVit(options.model, runtime.torch_device(), runtime.torch_dtype())
        everything = (*self.phrases, *options.background_phrases())
        self.vectors = self.model.embed_phrases(everything, options.templates)

    def initialize(self, frame: Frame) -> LabelMap:
        """Find the phrases in a frame.

        Args:
            frame: any size.
        Returns:
            uint8 (H, W): 0, and ids from 1 in the order of the phrases; with ``instances`` the pieces of the
            first phrase come first, larger before smaller.
        Raises:
            EmptyMaskError: none of the phrases is in the frame.
        """
        wanted = len(self.phrases)
        likeliest = self.options.likeliest
        found = self.model.segment(
            frame.image,
            self.vectors,
            self.options.short_side,
            top=likeliest or TOP_PHRASES,
            sure=0 if likeliest else wanted,
        )
        by_phrase: LabelMap = phrase_map(found, wanted, self.options.threshold).cpu().numpy().astype(np.uint8)
        label_map = split_instances(by_phrase, self.options.min_area) if self.options.instances else by_phrase
        shown = set(by_phrase[label_map > 0].tolist())
        absent = [phrase for object_id, phrase in enumerate(self.phrases, start=1) if object_id not in shown]
        others = f" and none of {len(absent) - MAX_NAMED} others" if len(absent) > MAX_NAMED else ""
        message = f"frame {frame.name}: found no {' and no '.join(absent[:MAX_NAMED])}{others} in it"
        if not shown:
            raise EmptyMaskError(f"{message}. Try other words, a lower -O threshold, or fewer -O background phrases.")
        if absent and self.options.instances:  # else the ids tell which phrases were found
            logger.warning("%s.", message)
        return label_map


def split_instances(label_map: LabelMap, min_area: float) -> LabelMap:
    """Make an object of each connected piece.

    Args:
        label_map: uint8 (H, W): 0 and ids.
        min_area: pieces below this fraction of the frame become background.
    Returns:
        uint8 (H, W): ids from 1, by the old id, larger pieces first; at most 254.
    """
    split = np.zeros_like(label_map)
    next_id = 1
    for object_id in (int(i) for i in np.unique(label_map) if i):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((label_map == object_id).astype(np.uint8))
        areas = stats[1:count, cv2.CC_STAT_AREA]
        for piece in np.argsort(-areas, kind="stable"):
            if areas[piece] >= min_area * label_map.size and next_id <= MAX_OBJECTS:
                split[pieces == piece + 1] = next_id
                next_id += 1
    return split

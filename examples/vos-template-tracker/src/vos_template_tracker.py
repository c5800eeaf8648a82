"""The tracker template-tracker: each object's annotated pixels, found again by normalised cross-correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from vos.plugin import BoolArray, Frame, Image, LabelMap, Prediction, Runtime, TrackerSpec, hookimpl, object_ids, option

VOS_API = 1


@dataclass(frozen=True)
class Options:
    reach: int = option(24, "How far an object may move between two frames, in pixels.")


class Tracker:
    objects: dict[int, tuple[Image, BoolArray, tuple[int, int]]]  # pixels, mask, place of the corner

    def __init__(self, options: Options, runtime: Runtime) -> None:
        self.reach = options.reach

    def start(self, frame: Frame, label_map: LabelMap) -> None:
        self.objects = {}
        self.annotate(frame, label_map)

    def annotate(self, frame: Frame, label_map: LabelMap) -> None:
        for object_id in object_ids(label_map):
            mask = label_map == object_id
            x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
            box = slice(y, y + height), slice(x, x + width)
            self.objects[object_id] = frame.image[box].copy(), mask[box].copy(), (y, x)

    def step(self, frame: Frame) -> Prediction:
        label_map = np.zeros(frame.size, np.uint8)
        for object_id, (pixels, mask, (y, x)) in self.objects.items():
            top, left = max(0, y - self.reach), max(0, x - self.reach)
            bottom, right = y + mask.shape[0] + self.reach, x + mask.shape[1] + self.reach
            window = frame.image[top:bottom, left:right]
            match = cv2.matchTemplate(window, pixels, cv2.TM_CCORR_NORMED, mask=mask.astype(np.uint8))
            found = np.unravel_index(np.nan_to_num(match).argmax(), match.shape)
            y, x = top + int(found[0]), left + int(found[1])
            label_map[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = object_id
            self.objects[object_id] = pixels, mask, (y, x)
        return Prediction.from_label_map(label_map, list(self.objects))


@hookimpl
def vos_trackers() -> Sequence[TrackerSpec]:
    return [TrackerSpec("template-tracker", "Finds the annotated pixels again by correlation.", Tracker, Options)]

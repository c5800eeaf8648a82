"""The tracker template-tracker: each object's annotated pixels, found again by normalised cross-correlation."""

from dataclasses import dataclass

import cv2
import numpy as np

from vos.plugin import Prediction, TrackerSpec, hookimpl, object_ids, option

VOS_API = 1


@dataclass(frozen=True)
class Options:
    reach: int = option(24, "How far an object may move between two frames, in pixels.")


class Tracker:
    def __init__(self, options, runtime):
        self.reach = options.reach

    def start(self, frame, label_map):
        self.objects = {}
        self.annotate(frame, label_map)

    def annotate(self, frame, label_map):
        for object_id in object_ids(label_map):
            mask = label_map == object_id
            x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
            box = slice(y, y + height), slice(x, x + width)
            self.objects[object_id] = frame.image[box].copy(), mask[box].copy(), (y, x)

    def step(self, frame):
        label_map = np.zeros(frame.size, np.uint8)
        for object_id, (pixels, mask, (y, x)) in self.objects.items():
            top, left = max(0, y - self.reach), max(0, x - self.reach)
            window = frame.image[top : y + len(mask) + self.reach, left : x + mask.shape[1] + self.reach]
            match = cv2.matchTemplate(window, pixels, cv2.TM_CCORR_NORMED, mask=mask.astype(np.uint8))
            found = np.unravel_index(np.nan_to_num(match).argmax(), match.shape)
            y, x = top + int(found[0]), left + int(found[1])
            label_map[y : y + len(mask), x : x + mask.shape[1]][mask] = object_id
            self.objects[object_id] = pixels, mask, (y, x)
        return Prediction.from_label_map(label_map, list(self.objects))


@hookimpl
def vos_trackers():
    return [TrackerSpec("template-tracker", "Finds the annotated pixels again by correlation.", Tracker, Options)]

"""Simulated prompts: boxes, clicks and strokes on an object, and corrections of an answer."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vos.plugin import AnyArray, BoolArray
from vos_grabcut.clicks.network import STRIDE
from vos_grabcut.clicks.prompt_maps import PromptCells
from vos_grabcut.training.samples import SIDE, VOID, Sample

CELLS = SIDE // STRIDE
BOX_ALONE, BOX_AND_MARKS, STROKE, CORRECTION = 0.3, 0.1, 0.12, 0.12
"""Shares of the objects that begin with a box alone, with a box and clicks, with a stroke, and with a wrong mask and a
click that corrects it; the others begin with clicks."""


@dataclass
class PromptedObject:
    """One object of a square, and what has been said of it.

    Attributes:
        sample: the square.
        target: float32 (CELLS, CELLS), share of the object in each cell.
        weight: float32 (CELLS, CELLS), 0 in void.
        prompts: of the same size.
    """

    sample: Sample
    target: AnyArray
    weight: AnyArray
    prompts: PromptCells

    @property
    def truth(self) -> BoolArray:
        """The object's cells; of a tiny object those with the largest share."""
        inside = self.target > 0.5
        return np.asarray(inside if inside.any() else self.target >= self.target.max())

    def correct(self, answer: AnyArray, rng: np.random.Generator) -> None:
        """Click on the largest error of an answer, float32 (CELLS, CELLS), which becomes the previous mask."""
        claimed, truth, known = answer > 0.5, self.truth, self.weight > 0.5
        missing, wrong = (_largest(error & known) for error in (truth & ~claimed, claimed & ~truth))
        self.prompts.previous = answer.astype(np.float32)
        if not missing.any() and not wrong.any():
            return
        on_object = missing.sum() >= wrong.sum()
        marks = _click(missing if on_object else wrong, rng, centred=rng.random() < 0.8)
        if on_object:
            self.prompts.on_object = self.prompts.on_object | (marks & (self.target > 0))
        else:
            self.prompts.beside = self.prompts.beside | (marks & (self.target < 1))


def simulate_prompts(sample: Sample, rng: np.random.Generator) -> PromptedObject:
    """Mark the object of a square in one of the ways that people do."""
    mask = sample.label_map == sample.object_id
    target = cv2.resize(mask.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    void = cv2.resize((sample.label_map == VOID).astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    none = np.zeros((CELLS, CELLS), bool)
    made = PromptedObject(sample, target, 1 - void, PromptCells(none, none, none, np.zeros((CELLS, CELLS), np.float32)))
    way = rng.random()
    if way < BOX_ALONE + BOX_AND_MARKS:
        made.prompts.box = _box(made.truth, rng)
    if way < BOX_ALONE:
        return made
    if way > 1 - CORRECTION:
        made.correct(_damaged(target, rng), rng)
        return made
    if way > 1 - CORRECTION - STROKE:
        made.prompts.on_object = _stroke(made.truth, rng)
        return made
    made.prompts.on_object = _click(made.truth, rng, centred=rng.random() < 0.6)
    if rng.random() < 0.25:
        made.prompts.on_object = made.prompts.on_object | _click(made.truth, rng, centred=False)
    band = cv2.dilate(made.truth.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    outside = band & (target < 0.1) & (void < 0.5)
    if rng.random() < 0.25 and outside.any():
        made.prompts.beside = _click(outside, rng, centred=False)
    return made


def _box(truth: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Draw a box around the object; one in six is loose, the others are off by a few hundredths of their size."""
    box = np.zeros(truth.shape, bool)
    slices = []
    loose = rng.random() < 1 / 6
    for axis in (1, 0):
        at = np.flatnonzero(truth.any(axis=axis))
        size = len(at) and at[-1] + 1 - at[0]
        low, high = rng.uniform(-0.2, 0, 2) if loose else rng.normal(0, 0.03, 2)
        start = max(0, round(at[0] + size * low))
        slices.append(slice(start, max(start + 1, round(at[-1] + 1 - size * high))))
    box[tuple(slices)] = True
    return box


def _click(region: BoolArray, rng: np.random.Generator, centred: bool) -> BoolArray:
    """Click on a random cell of a region, or near its centre."""
    distance = cv2.distanceTransform(np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    ys, xs = np.nonzero(distance >= (0.75 * distance.max() if centred else 0.5))
    place = int(rng.integers(len(ys)))
    marks = np.zeros(region.shape, np.uint8)
    cv2.circle(marks, (int(xs[place]), int(ys[place])), int(rng.integers(0, 2)), 1, 1)
    return np.asarray(marks > 0)


def _stroke(truth: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Draw a line through two or three points of the object; what lies beside the object is not drawn."""
    ys, xs = np.nonzero(truth)
    chosen = rng.integers(0, len(ys), int(rng.integers(2, 4)))
    drawn = np.zeros(truth.shape, np.uint8)
    cv2.polylines(drawn, [np.stack([xs[chosen], ys[chosen]], 1).astype(np.int32)], False, 1, 1)
    return np.asarray((drawn > 0) & truth)


def _damaged(target: AnyArray, rng: np.random.Generator) -> AnyArray:
    """Bite discs out of a mask, and spill others over its edge, a few times."""
    damaged = target.copy()
    ys, xs = np.nonzero(target > 0)
    side = np.sqrt(len(ys))
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(ys)))
        shift = rng.normal(0, 0.3 * side, 2)
        centre = (round(xs[place] + shift[0]), round(ys[place] + shift[1]))
        cv2.circle(damaged, centre, max(1, round(side * rng.uniform(0.1, 0.45))), float(rng.random() < 0.5), -1)
    return np.asarray(damaged, dtype=np.float32)


def _largest(region: BoolArray) -> BoolArray:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=8)
    return np.asarray(labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()) if count > 1 else region

"""Soft alpha of objects: the tracker's own logits at the frame's size, 0.5 where the label map's edge is."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np

from vos.plugin import FloatArray, LabelMap, Prediction, Run

logger = logging.getLogger("vos.writers")


class ObjectAlpha:
    """Alpha mattes of a run's frames, which notes whether the object that was asked for occurs."""

    def __init__(self, object_id: int | None) -> None:
        """Choose the object: an id, or None for all objects together."""
        self._object_id = object_id
        self._known: set[int] = set()

    def of(self, prediction: Prediction, label_map: LabelMap) -> FloatArray:
        """Return one frame's matte, as ``alpha_of`` gives it."""
        self._known.update(prediction.object_ids)
        return alpha_of(prediction, label_map, self._object_id)

    def warn_if_absent(self, run: Run, path: Path) -> None:
        """Warn that no frame has the object: the mattes are empty. Frames of a run that was resumed are not known."""
        if self._object_id is None or self._object_id in self._known or run.frames_before:
            return
        known = ", ".join(map(str, sorted(self._known))) or "none"
        logger.warning(
            "%s: no frame has object %d, so that nothing is opaque. Objects: %s.", path, self._object_id, known
        )


def alpha_of(prediction: Prediction, label_map: LabelMap, object_id: int | None) -> FloatArray:
    """Alpha matte of an object, or of all objects together.

    Alpha is ``sigmoid(own logit - max(highest other logit, 0))``, so that the alphas of neighbours add up to about 1
    at their edge. A prediction made from a label map has hard edges: its alpha is 0 or 1.

    Args:
        prediction: the tracker's answer for the frame.
        label_map: uint8 (H, W), merged from the prediction.
        object_id: one object; None for all of them together.
    Returns:
        float32 (H, W) in [0, 1].
    """
    height, width = label_map.shape
    hard = (label_map > 0) if object_id is None else (label_map == object_id)
    rows = list(prediction.object_ids)
    if prediction.label_map is not None or not rows or (object_id is not None and object_id not in rows):
        return hard.astype(np.float32)
    logits = prediction.logits
    if object_id is None:
        own = logits.max(axis=0)
    else:
        others = np.delete(logits, rows.index(object_id), axis=0)
        own = logits[rows.index(object_id)] - np.maximum(others.max(axis=0, initial=0.0), 0.0)
    full = cv2.resize(own, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = 1 / (1 + np.exp(-np.clip(full, -30, 30)))
    # What later steps took out of the mask, or added to it, is not in the logits: there the label map counts.
    near = cv2.dilate(hard.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=_reach(prediction, width)) > 0
    alpha[~near] = 0
    return np.asarray(np.where(hard, np.maximum(alpha, 0.5), np.minimum(alpha, 0.5)), dtype=np.float32)


def _reach(prediction: Prediction, width: int) -> int:
    """Pixels around a mask that a cell of the logits reaches."""
    return max(2, round(width / int(prediction.logits.shape[2])))

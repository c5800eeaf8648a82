"""Attributes of objects, measured from the truth, and scores of the objects that share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vos.evaluation.datasets.sequence_folders import png_files
from vos.evaluation.metrics.statistics import mean_of
from vos.evaluation.video.scores import Scores
from vos.io.masks.mask_file import read_stored_label_map
from vos.types.label_map import VOID


@dataclass(frozen=True)
class AttributeLimits:
    """Thresholds from which an object has an attribute."""

    small: float = 0.01  # small: mean area below this share of the frame
    large: float = 0.1  # large: mean area from this share of the frame on
    fast: float = 0.2  # fast: median step of the centroid from this share of sqrt(area) on, per annotated frame
    occluded: float = 0.5  # occluded: visible area falls below this share of its median


@dataclass(frozen=True)
class Slice:
    """The objects with one attribute.

    Attributes:
        name: the attribute.
        objects: how many objects have it.
        j: mean J in [0, 1].
        f: mean F in [0, 1].
    """

    name: str
    objects: int
    j: float
    f: float


def attributes_of(areas: np.ndarray, centroids: np.ndarray, pixels: int, limits: AttributeLimits) -> set[str]:
    """Name an object's attributes.

    Args:
        areas: int (T,), pixels of the object in each annotated frame; 0 where it is gone.
        centroids: float (T, 2), its centre; not used where it is gone.
        pixels: of a frame.
        limits: from where on an attribute holds.
    Returns:
        Among ``small``, ``medium``, ``large``; ``fast`` or ``slow``; ``occluded``; ``disappears``.
    """
    seen = np.flatnonzero(areas)
    if not len(seen):
        return set()
    visible = areas[seen]
    share = visible.mean() / pixels
    found = {"small" if share < limits.small else "large" if share >= limits.large else "medium"}
    pairs = seen[:-1][np.diff(seen) == 1]
    steps = np.linalg.norm(centroids[pairs + 1] - centroids[pairs], axis=1) / np.sqrt(areas[pairs])
    found.add("fast" if len(steps) and np.median(steps) >= limits.fast else "slow")
    if visible.min() < limits.occluded * np.median(visible):
        found.add("occluded")
    if (areas[seen[0] :] == 0).any():
        found.add("disappears")
    return found


def slices(scores: Scores, limits: AttributeLimits | None = None) -> list[Slice]:
    """Average the scores of the objects with each attribute; reads the truth's label maps again.

    Args:
        scores: of a data set, with the folders of its truth.
        limits: from where on an attribute holds; by default ``AttributeLimits()``.
    Returns:
        The attributes that some object has, by name.
    Raises:
        InputError: an annotation cannot be read.
    """
    limits = limits or AttributeLimits()
    merge = scores.protocol.merge and not scores.protocol.object_folders
    members: dict[str, list[int]] = {}
    objects = [(name, one) for name, one in scores.objects if len(one.j)]
    tracks: dict[str, Mapping[int, set[str]]] = {}
    for at, (name, one) in enumerate(objects):
        key = f"{name}/{one.object_id:03d}" if scores.protocol.object_folders else name
        if key not in tracks:
            tracks[key] = _attributes_in(scores.files[key].truth, merge or scores.protocol.object_folders, limits)
        object_id = 1 if scores.protocol.object_folders else one.object_id
        for attribute in tracks[key].get(object_id, ()):
            members.setdefault(attribute, []).append(at)
    return [
        Slice(
            name,
            len(rows),
            mean_of([objects[row][1].j_statistics for row in rows]).mean,
            mean_of([objects[row][1].f_statistics for row in rows]).mean,
        )
        for name, rows in sorted(members.items())
    ]


def _attributes_in(folder: Path, merge: bool, limits: AttributeLimits) -> dict[int, set[str]]:
    files = png_files(folder)
    areas = np.zeros((256, len(files)), dtype=np.int64)
    centroids = np.zeros((256, len(files), 2))
    pixels = 1
    for frame, path in enumerate(files):
        mask = read_stored_label_map(path)
        label_map = mask.label_map
        if mask.binary:
            label_map = (label_map == VOID).astype(np.uint8)
        elif merge:
            label_map = ((label_map > 0) & (label_map < VOID)).astype(np.uint8)
        pixels = label_map.size
        counts = np.bincount(label_map.ravel(), minlength=256)
        areas[:, frame] = counts
        y, x = np.nonzero(label_map)
        ids = label_map[y, x]
        for axis, values in enumerate((y, x)):
            centroids[:, frame, axis] = np.bincount(ids, weights=values, minlength=256) / np.maximum(counts, 1)
    present = [int(i) for i in np.flatnonzero(areas.any(axis=1)) if 0 < i < VOID]
    return {i: attributes_of(areas[i], centroids[i], pixels, limits) for i in present}

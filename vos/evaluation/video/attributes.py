"""Attributes of objects, measured from the truth, and scores of the objects that share one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vos.evaluation.datasets.sequence_folders import png_files
from vos.evaluation.metrics.statistics import mean_of
from vos.evaluation.video.black_and_white import annotated_in_black_and_white, one_object
from vos.evaluation.video.scores import Scores
from vos.io.masks.mask_file import read_stored_label_map
from vos.types.label_map import VOID, object_ids


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


def slices(results: Sequence[Scores], limits: AttributeLimits | None = None) -> list[list[Slice]]:
    """Average the scores of the objects with each attribute; reads the truth's label maps again, once for all results.

    Args:
        results: scores of one data set, with the folders of its truth.
        limits: from where on an attribute holds; by default ``AttributeLimits()``.
    Returns:
        For each result, the attributes that some object has, by name.
    Raises:
        InputError: an annotation cannot be read.
    """
    tracks: dict[Path, Mapping[int, set[str]]] = {}
    return [_slices_of(scores, limits or AttributeLimits(), tracks) for scores in results]


def _slices_of(scores: Scores, limits: AttributeLimits, tracks: dict[Path, Mapping[int, set[str]]]) -> list[Slice]:
    merge = scores.protocol.merge or scores.protocol.object_folders
    members: dict[str, list[int]] = {}
    objects = [(name, one) for name, one in scores.objects if len(one.j)]
    for at, (name, one) in enumerate(objects):
        files = scores.files_of(name, one.object_id)
        assert files is not None, "given with the scores"
        folder = files.truth
        if folder not in tracks:
            tracks[folder] = _attributes_in(folder, merge, limits)
        object_id = 1 if scores.protocol.object_folders else one.object_id
        for attribute in tracks[folder].get(object_id, ()):
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
    black_and_white = annotated_in_black_and_white(files)
    areas = np.zeros((256, len(files)), dtype=np.int64)
    centroids = np.zeros((256, len(files), 2))
    pixels = 1
    for frame, path in enumerate(files):
        label_map = read_stored_label_map(path).label_map
        if black_and_white:
            label_map = one_object(label_map)
        elif merge:
            label_map = ((label_map > 0) & (label_map < VOID)).astype(np.uint8)
        pixels = label_map.size
        for i in object_ids(label_map):
            mask = (label_map == i).view(np.uint8)
            # 16 bits hold these sums of an image of up to 65,535 rows and columns, in a quarter of the time of 64.
            sums = [np.add.reduce(mask, axis=axis, dtype=np.uint16).astype(np.int64) for axis in (1, 0)]
            areas[i, frame] = sums[0].sum()
            centroids[i, frame] = [np.arange(len(line)) @ line / areas[i, frame] for line in sums]
    present = [int(i) for i in np.flatnonzero(areas.any(axis=1))]
    return {i: attributes_of(areas[i], centroids[i], pixels, limits) for i in present}

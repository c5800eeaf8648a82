"""PerSeg: IoU and boundary IoU of one-shot personalised segmentation, by category."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vos.errors import InputError
from vos.evaluation.datasets.faults import FaultsError
from vos.evaluation.datasets.sequence_folders import png_files
from vos.evaluation.metrics.boundary_iou import boundary_region
from vos.io.masks.mask_file import read_stored_label_map
from vos.types.arrays import BoolArray

GIVEN = "00"
"""Stem of the image that PerSeg gives of each category; a tree of one's own may have none."""


@dataclass(frozen=True)
class CategoryScores:
    """Scores of one category, in [0, 1].

    Attributes:
        category: its folder's name.
        images: how many were scored.
        iou: intersection over union, both summed over the images.
        boundary_iou: the same of the boundary regions.
        accuracy: share of the object's pixels that were found.
    """

    category: str
    images: int
    iou: float
    boundary_iou: float
    accuracy: float


def evaluate_perseg(truth: Path | str, predictions: Path | str, *, reference: str = GIVEN) -> list[CategoryScores]:
    """Score masks against PerSeg's annotations.

    Args:
        truth: PerSeg's root, or its ``Annotations``: a folder for each category, files ``00.png``, ...
            (any colour but black is the object).
        predictions: a folder for each category, files of the same names; any id or colour but 0 is the object.
        reference: stem of the image that was given, which is not scored.
    Returns:
        Scores by category, sorted by name.
    Raises:
        FaultsError: missing, unreadable or wrong-sized masks, all listed in one error.
        InputError: a folder is not there, or holds no categories, or none of them has the reference that is named.
    Source: IoU: eval_mioU.py of ZrrSkywalker/Personalize-SAM at 01d73aa, where every path with "00" in it is left
        out and eight categories are skipped; here only the file ``00.png`` is, and no category.
    """
    truth, predictions = Path(truth), Path(predictions)
    folder = truth / "Annotations" if (truth / "Annotations").is_dir() else truth
    for path in (folder, predictions):
        if not path.is_dir():
            raise InputError(f"{path}: no such folder.")
    faults: list[str] = []
    scores = []
    found = False
    for category in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        held = png_files(category)
        files = [path for path in held if path.stem != reference]
        found |= files != held
        if files:
            pairs = _pairs(files, predictions / category.name, faults)
            scores.append(_score(category.name, pairs))
    if scores and not found and reference != GIVEN:
        raise InputError(f"{folder}: no category has {reference}.png, the given image that --reference names.")
    if faults:
        raise FaultsError(str(predictions), faults)
    if not scores:
        raise InputError(f"{folder}: no categories with masks besides {reference}.png in it.")
    return scores


def mean_over_categories(scores: list[CategoryScores]) -> CategoryScores:
    """Average categories; each counts once.

    Args:
        scores: at least one.
    Returns:
        mIoU, mean boundary IoU and mean accuracy, and the number of all images.
    """
    count = len(scores)
    return CategoryScores(
        "Mean",
        sum(one.images for one in scores),
        sum(one.iou for one in scores) / count,
        sum(one.boundary_iou for one in scores) / count,
        sum(one.accuracy for one in scores) / count,
    )


def _pairs(files: list[Path], predictions: Path, faults: list[str]) -> Iterator[tuple[BoolArray, BoolArray]]:
    for path in files:
        try:
            truth = _object(path)
        except InputError as error:
            faults.append(f"{path}: {error}")
            continue
        found = predictions / path.name
        try:
            mask = _object(found)
            if mask.shape != truth.shape:
                raise InputError(f"{mask.shape[1]}x{mask.shape[0]}, annotation is {truth.shape[1]}x{truth.shape[0]}")
        except InputError as error:
            faults.append(f"{found}: {error}")
            continue
        yield truth, mask


def _object(path: Path) -> BoolArray:
    """The object in a mask file of ids or of one colour, as PerSeg's annotations and PerSAM's masks are."""
    return np.asarray(read_stored_label_map(path, painted=True, by_index=True).label_map > 0)


def _score(category: str, pairs: Iterator[tuple[BoolArray, BoolArray]]) -> CategoryScores:
    counts = np.zeros(5, dtype=np.int64)
    images = 0
    for truth, mask in pairs:
        images += 1
        truth_edge, mask_edge = boundary_region(truth), boundary_region(mask)
        regions = (truth & mask, truth | mask, truth_edge & mask_edge, truth_edge | mask_edge, truth)
        counts += [int(np.count_nonzero(region)) for region in regions]
    shared, union, edge_shared, edge_union, area = (int(count) for count in counts)
    return CategoryScores(
        category,
        images,
        shared / union if union else 1.0,
        edge_shared / edge_union if edge_union else 1.0,
        shared / area if area else 1.0,
    )

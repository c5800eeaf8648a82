"""Scoring folders of class maps, or of proposals, against a data set's labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vos.errors import InputError
from vos.evaluation.datasets.faults import FaultsError
from vos.evaluation.images.initializer_scores import as_proposals
from vos.evaluation.images.labelled_images import IGNORED, LabelledImages
from vos.evaluation.images.segmentation_scores import HungarianScorer, SemanticScorer
from vos.io.masks.mask_file import read_stored_label_map
from vos.types.arrays import LabelMap

_WRITE_CLASSES = "Write classes, such as 0 and 1 in place of black and white"


def evaluate_semantic(
    images: LabelledImages, predictions: Path | str, *, hungarian: bool = False
) -> SemanticScorer | HungarianScorer:
    """Score a folder of predictions.

    Args:
        images: the data set's labels.
        predictions: PNG files named as the images (``STEM.png``); values are classes from 0, 255 is
            nothing; or with ``hungarian`` any ids of segments.
        hungarian: match each image's segments to the classes.
    Returns:
        The scorer, with accuracy and IoU.
    Raises:
        FaultsError: missing, unreadable or wrong-sized files, values that are no class, or black and white for several
            classes, all listed in one error.
        InputError: the folder is not there.
    """
    predictions = Path(predictions)
    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder of predictions.")
    scorer = (HungarianScorer if hungarian else SemanticScorer)(len(images.classes))
    faults = []
    known, predicted = set[int](), set[int]()
    for image, label_file in images.pairs:
        found = predictions / f"{image.stem}.png"
        labels = images.read_labels(label_file)
        try:
            prediction = read_stored_label_map(found, by_index=True).label_map
            if prediction.shape != labels.shape:
                size, wanted = prediction.shape, labels.shape
                raise InputError(f"{size[1]}x{size[0]}, its labels are {wanted[1]}x{wanted[0]}")
            if not hungarian:
                _refuse_other_values(prediction, len(images.classes))
        except InputError as error:
            faults.append(f"{found}: {error}")
            continue
        scorer.add(as_proposals(prediction) if hungarian else prediction, labels)
        known.update(np.unique(labels).tolist())
        predicted.update(np.unique(prediction).tolist())
    if known == {IGNORED, 0} and len(images.classes) > 1:
        faults.append(f"{images.pairs[0][1].parent}: no label is a class besides 0. {_WRITE_CLASSES}")
    if predicted == {0, 255} and len(images.classes) > 1 and not hungarian:
        faults.append(f"{predictions}: all predictions are 0 or 255, which is nothing. {_WRITE_CLASSES}")
    if faults:
        raise FaultsError(str(predictions), faults)
    return scorer


def _refuse_other_values(prediction: LabelMap, classes: int) -> None:
    """Refuse values that are no class: they would count as wrong, and are most often segments or ids from 1."""
    others = [value for value in np.unique(prediction).tolist() if classes <= value < 255]
    if others:
        raise InputError(
            f"holds {', '.join(map(str, others[:5]))}, expected classes 0 to {classes - 1}, or 255 for nothing; "
            "segments without a class need --hungarian"
        )

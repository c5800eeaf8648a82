"""Score an initializer on labelled images: segment each image and compare the result with its labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from PIL import Image as PillowImage

from vos.errors import EmptyMaskError, InputError, OptionError
from vos.evaluation.images.labelled_images import IGNORED, ClassMap, LabelledImages
from vos.io.images.image_file import read_image
from vos.protocols.initializer import Initializer
from vos.types.arrays import Image, LabelMap
from vos.types.frame import Frame

NOTHING = -2
"""What a pixel is predicted to be where an initializer found none of the classes."""


class Scorer(Protocol):
    """A score that is accumulated from predictions and labels, one image at a time."""

    def add(self, prediction: Any, labels: Any, /) -> None:
        """Add one image: integer arrays (H, W)."""
        ...


def score_images(
    initializer: Initializer,
    images: LabelledImages,
    scorer: Scorer,
    *,
    square: int | None = None,
    semantic: bool = False,
    true_clusters: bool = False,
    limit: int | None = None,
) -> Iterator[str]:
    """Run an initializer on labelled images; where it finds nothing, all is background.

    Args:
        initializer: gives segments (any ids), or ids that mean classes.
        images: with their labels.
        scorer: gets, for each image, the prediction and the labels. Predictions are proposal indices from 0, or
            with ``semantic`` classes and ``NOTHING``.
        square: crop the central square and scale it to this side, as the official DiffSeg benchmark (512).
        semantic: id k means class k where class 0 is a background, else class k - 1.
        true_clusters: set the number of clusters to each image's number of classes (K-Means-S).
        limit: only so many images, the first ones.
    Yields:
        The name of each image when it is done.
    Raises:
        InputError: an unreadable image, or one whose size is not its labels'.
        OptionError: ``true_clusters`` with an initializer that has no ``with_clusters`` method.
    """
    if true_clusters and not hasattr(initializer, "with_clusters"):
        raise OptionError(f"{type(initializer).__name__} takes no number of clusters; diffseg does.")
    for index, (image_path, label_path) in enumerate(images.pairs[:limit]):
        image, labels = read_image(image_path), images.read_labels(label_path)
        if image.shape[:2] != labels.shape:
            raise InputError(
                f"{label_path}: labels are {labels.shape[1]}x{labels.shape[0]}, "
                f"the image is {image.shape[1]}x{image.shape[0]}."
            )
        if square is not None:
            image, labels = crop_square(image, labels, square)
        chosen: Any = initializer
        if true_clusters:
            chosen = chosen.with_clusters(max(1, len(np.unique(labels[labels != IGNORED]))))
        try:
            label_map = chosen.initialize(Frame(index, image, image_path.stem))
        except EmptyMaskError:
            label_map = np.zeros(labels.shape, dtype=np.uint8)
        prediction = as_classes(label_map, images.has_background) if semantic else as_proposals(label_map)
        scorer.add(prediction, labels)
        yield image_path.stem


def as_proposals(label_map: LabelMap) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Number a label map's ids, 0 too, from 0 without gaps.

    Args:
        label_map: uint8 (H, W).
    Returns:
        int64 (H, W).
    """
    return np.asarray(np.unique(label_map, return_inverse=True)[1], dtype=np.int64).reshape(label_map.shape)


def as_classes(label_map: LabelMap, has_background: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Read a label map's ids as classes.

    Args:
        label_map: uint8 (H, W).
        has_background: class 0 is what no other class is, so id k means class k; else class k - 1, and id 0 nothing.
    Returns:
        int64 (H, W), classes and ``NOTHING``.
    """
    ids = label_map.astype(np.int64)
    return ids if has_background else np.where(ids == 0, NOTHING, ids - 1)


def crop_square(image: Image, labels: ClassMap, side: int) -> tuple[Image, ClassMap]:
    """Crop the central square of an image and its labels, and scale both.

    Args:
        image: uint8 (H, W, 3).
        labels: int16 (H, W).
        side: of the result, pixels; the image bilinear, labels nearest.
    Returns:
        uint8 (side, side, 3) and int16 (side, side).
    Source: google/diffseg, diffseg/utils.py at 77ea596.
    """
    height, width = labels.shape
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    box = (left, top, left + size, top + size)
    scaled = PillowImage.fromarray(image).resize((side, side), PillowImage.Resampling.BILINEAR, box=box)
    nearest = ((np.arange(side) + 0.5) * size / side).astype(np.int64)
    return np.asarray(scaled), labels[top + nearest][:, left + nearest]

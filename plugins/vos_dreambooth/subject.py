"""The training images: the subject's mask by PerSAM-F, and squares around it."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from vos.plugin import (
    IMAGE_SUFFIXES,
    AnyArray,
    BoolArray,
    Image,
    InputError,
    LabelMap,
    Runtime,
    natural_order,
    object_ids,
    read_image,
    read_label_map,
    write_label_map,
)
from vos_persam.personal import PersonalOptions, PersonalSegmenter
from vos_sam.model import SegmentAnything

logger = logging.getLogger("vos.dreambooth")


@dataclass(frozen=True, eq=False)
class Subject:
    """One training image.

    Attributes:
        image: uint8 (S, S, 3).
        mask: bool (S, S), where the subject is; all True for a class image.
    """

    image: Image
    mask: BoolArray


def image_files(folder: Path) -> list[Path]:
    """List a folder's images in natural order.

    Raises:
        InputError: there are none.
    """
    files = [path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES] if folder.is_dir() else []
    if not files:
        raise InputError(f"{folder}: no images in it, expected files such as 1.jpg.")
    return natural_order(files)


def segment_subjects(
    reference: Path,
    mask: Path,
    images: Sequence[Path],
    masks: Path,
    *,
    checkpoint: Path | None,
    model: str,
    runtime: Runtime,
) -> list[Path]:
    """Segment the subject in all images with PerSAM-F, and write its masks.

    Args:
        reference: an image that shows the subject.
        mask: the subject in it; any id is the subject.
        images: the training images.
        masks: the folder for their masks; masks that are there, edited by hand perhaps, are taken as they are.
        checkpoint: Segment Anything's file, or None to take ``model`` from the cache.
        model: a known Segment Anything.
        runtime: where it runs.
    Returns:
        Each image's mask file.
    """
    paths = [masks / f"{image.stem}.png" for image in images]
    if len(set(paths)) < len(paths):
        raise InputError(f"{images[0].parent}: two images have one name but for the suffix. Rename one.")
    waiting = [(image, path) for image, path in zip(images, paths, strict=True) if not path.exists()]
    if waiting:
        shown = read_image(reference)
        label_map = subject_mask(read_label_map(mask, (shown.shape[0], shown.shape[1]))).astype(np.uint8)
        sam = SegmentAnything.load(runtime, checkpoint=checkpoint, model=model)
        segmenter = PersonalSegmenter(sam, shown, label_map, PersonalOptions(learnt=True))
        masks.mkdir(parents=True, exist_ok=True)
        for image, path in waiting:
            write_label_map(path, segmenter.segment(read_image(image)))
    return paths


def subject_mask(label_map: LabelMap) -> BoolArray:
    """Mark the pixels of any object, bool (H, W); void is none."""
    return np.isin(label_map, object_ids(label_map))


def file_digests(images: Sequence[Path], masks: Path, class_images: Sequence[Path] = ()) -> dict[str, str]:
    """Digest the subject's images, the masks that are there, and images of the class.

    Args:
        images: the training images.
        masks: the folder of their masks.
        class_images: the images of the class.
    Returns:
        SHA-256 by kind and file name, such as ``"image 1.jpg"``, ``"mask 1.png"`` and ``"class image 1.jpg"``; empty
        for a class image that is not made yet.
    Raises:
        InputError: a file cannot be read.
    """
    named = {f"image {image.name}": image for image in images}
    named |= {f"mask {mask.name}": mask for image in images if (mask := masks / f"{image.stem}.png").exists()}
    named |= {f"class image {image.name}": image for image in class_images}
    digests = {}
    for name, file in named.items():
        try:
            digests[name] = hashlib.sha256(file.read_bytes()).hexdigest() if os.path.lexists(file) else ""
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}).") from error
    return digests


def load_subjects(images: Sequence[Path], masks: Sequence[Path], side: int) -> list[Subject]:
    """Cut squares around the subject.

    Args:
        images: image files.
        masks: their label maps.
        side: of the squares, pixels.
    Returns:
        The images whose mask is not empty.
    Raises:
        InputError: all are empty.
    """
    subjects = []
    for image, mask in zip(images, masks, strict=True):
        pixels = read_image(image)
        is_subject = subject_mask(read_label_map(mask, (pixels.shape[0], pixels.shape[1]), allow_empty=True))
        if is_subject.any():
            subjects.append(cut_square(pixels, is_subject, side))
        else:
            logger.warning("%s: PerSAM-F found no subject; the image is left out.", image)
    if not subjects:
        raise InputError(f"{masks[0].parent}: no mask has a subject. Draw them by hand there, or give other images.")
    return subjects


def cut_square(image: Image, mask: BoolArray, side: int) -> Subject:
    """Scale the shorter side of an image, and cut the square whose middle is nearest to the mask's."""
    height, width = mask.shape
    edge = min(height, width)
    rows, columns = np.nonzero(mask)
    top = _start(rows, edge, height)
    left = _start(columns, edge, width)
    window = np.s_[top : top + edge, left : left + edge]
    scaled = PillowImage.fromarray(image[window]).resize((side, side), PillowImage.Resampling.BILINEAR)
    whole = PillowImage.fromarray(mask[window]).resize((side, side), PillowImage.Resampling.NEAREST)
    return Subject(np.asarray(scaled), np.asarray(whole, bool))


def _start(positions: AnyArray, edge: int, length: int) -> int:
    middle = (int(positions.min()) + int(positions.max()) + 1) // 2
    return int(np.clip(middle - edge // 2, 0, length - edge))


def load_class_images(files: Sequence[Path], side: int) -> list[Subject]:
    """Cut squares from the middle of class images; all of them counts."""
    subjects = []
    for file in files:
        pixels = read_image(file)
        subjects.append(cut_square(pixels, np.ones(pixels.shape[:2], bool), side))
    return subjects

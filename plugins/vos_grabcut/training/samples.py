"""Training samples of the click decoder: square crops of annotated images, with the frozen backbone's features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from torch import Tensor

from vos.plugin import AnyArray, Image, LabelMap, read_label_map
from vos_propagation.backbone.efficientnet_lite import EfficientNetLite

SIDE = 256
"""Side of a training square, pixels."""
SHORT_SIDES = (256, 560)
"""Range, in pixels, of the random length to which an image's short side is scaled before it is cropped."""
MIN_AREA = 250
"""An object with a smaller area in a crop, in pixels, is not learnt."""
VOID = 255
"""Label of pixels without a known object."""


@dataclass
class Sample:
    """One square crop.

    Attributes:
        features: by stride s, float16 (C, SIDE / s, SIDE / s), unit length over C.
        label_map: uint8 (SIDE, SIDE).
        object_ids: ids of the objects that are large enough to be learnt.
    """

    features: dict[int, Tensor]
    label_map: LabelMap
    object_ids: tuple[int, ...]


def annotated_images(folder: Path, every: int, leave_out: Sequence[str] = ()) -> Iterator[tuple[Path, Path]]:
    """Find images with label maps: ``JPEGImages/**/X.jpg`` and ``Annotations/**/X.png``.

    Args:
        folder: the parent of both folders.
        every: use every n-th frame of a sequence.
        leave_out: names of sequences that are not used.
    Yields:
        Paths of an image and of its label map.
    """
    root = folder / "JPEGImages"
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*.jpg")):
        by_folder.setdefault(path.parent, []).append(path)
    for parent, paths in by_folder.items():
        if parent.name in leave_out:
            continue
        for path in paths if parent == root else paths[::every]:
            yield path, folder / "Annotations" / path.relative_to(root).with_suffix(".png")


def make_samples(
    found: Sequence[tuple[Path, Path]], network: EfficientNetLite, squares: int, rng: np.random.Generator
) -> list[Sample]:
    """Crop squares from images and encode them; half are mirrored, and brightness and contrast vary."""
    samples = []
    for image_path, mask_path in found:
        with PillowImage.open(image_path) as opened:
            image = np.asarray(opened.convert("RGB"))
        label_map = read_label_map(mask_path, (image.shape[0], image.shape[1]), allow_empty=True)
        for _ in range(squares):
            square = _crop(image, label_map, rng)
            if square is not None:
                samples.append(_encode(*square, network))
    return samples


def unit_levels(network: EfficientNetLite, image: Image) -> dict[int, Tensor]:
    """Encode an image whose sides are multiples of 16: features by stride, (C, h, w), unit length over channels."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        levels = network(pixels)
    return {stride: F.normalize(levels[stride][0], dim=0) for stride in (4, 8, 16)}


def _crop(
    image: Image, label_map: LabelMap, rng: np.random.Generator
) -> tuple[Image, LabelMap, tuple[int, ...]] | None:
    scale = np.exp(rng.uniform(*np.log(SHORT_SIDES))) / min(image.shape[:2])
    size_wh = tuple(max(SIDE, round(length * scale)) for length in image.shape[1::-1])
    image = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))
    label_map = np.asarray(cv2.resize(label_map, size_wh, interpolation=cv2.INTER_NEAREST))
    for _ in range(6):
        y, x = (int(rng.integers(0, length - SIDE + 1)) for length in image.shape[:2])
        part = label_map[y : y + SIDE, x : x + SIDE]
        areas = np.bincount(part.ravel(), minlength=256)
        ids = tuple(int(i) for i in range(1, VOID) if areas[i] >= MIN_AREA and areas[i] < 0.9 * SIDE * SIDE)
        if ids:
            return *_augment(image[y : y + SIDE, x : x + SIDE], part, rng), ids
    return None


def _augment(image: Image, label_map: LabelMap, rng: np.random.Generator) -> tuple[Image, LabelMap]:
    if rng.random() < 0.5:
        image, label_map = image[:, ::-1], label_map[:, ::-1]
    values: AnyArray = image.astype(np.float32)
    mean = values.mean()
    values = (values - mean) * rng.uniform(0.75, 1.25) + mean * rng.uniform(0.75, 1.25)
    values = values * rng.uniform(0.92, 1.08, 3)
    return np.clip(values, 0, 255).astype(np.uint8), np.ascontiguousarray(label_map)


def _encode(image: Image, label_map: LabelMap, ids: tuple[int, ...], network: EfficientNetLite) -> Sample:
    return Sample({s: level.half() for s, level in unit_levels(network, image).items()}, label_map, ids)

"""Training samples of the click decoder: square crops of annotated images, with the frozen backbone's features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.utils.data import IterableDataset

from vos.plugin import AnyArray, BoolArray, Image, LabelMap, read_label_map
from vos_propagation.backbone.efficientnet_lite import load_efficientnet_lite

SIDE = 320
"""Side of a training square, pixels."""
OBJECT_SIDES = (24, 300)
"""Range, in pixels, of the random length to which the longer side of an object's box is scaled."""
MOST_SCALE = 3.0
"""No image is enlarged more."""
MIN_AREA = 60
"""An object with a smaller area in a square, in pixels, is not learnt."""
PASTED_SHARE = 0.4
"""Share of the squares in which an object of another image is pasted."""
DRAWN_SHARE, DRAWN_GROUND_SHARE = 0.25, 0.04
"""Share of the pasted objects that are drawn shapes, and of the squares whose ground is drawn, with such an object."""
PASTED_ID = 254
VOID = 255
"""Label of pixels without a known object."""


@dataclass(frozen=True)
class Annotated:
    """An image with its label map.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        label_map: uint8 (H, W).
        object_ids: ids of the objects that are large enough to be learnt.
    """

    image: Image
    label_map: LabelMap
    object_ids: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """One square crop.

    Attributes:
        features: the backbone's levels, by stride s: float16 (C, SIDE / s, SIDE / s).
        label_map: uint8 (SIDE, SIDE).
        object_id: the object to be found.
    """

    features: dict[int, Tensor]
    label_map: LabelMap
    object_id: int


def annotated_images(folder: Path, every: int, leave_out: Sequence[str] = ()) -> Iterator[tuple[Path, Path]]:
    """Find images with label maps: ``JPEGImages/**/X.jpg`` and ``Annotations/**/X.png``.

    Args:
        folder: the parent of both folders.
        every: use every n-th frame of a sequence.
        leave_out: names of sequences, and of photographs without suffix, that are not used.
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
            if parent != root or path.stem not in leave_out:
                yield path, folder / "Annotations" / path.relative_to(root).with_suffix(".png")


def read_annotated(image_path: Path, mask_path: Path) -> Annotated:
    """Read an image and its label map."""
    with PillowImage.open(image_path) as opened:
        image = np.asarray(opened.convert("RGB"))
    label_map = read_label_map(mask_path, (image.shape[0], image.shape[1]), allow_empty=True)
    areas = np.bincount(label_map.ravel(), minlength=256)
    return Annotated(image, label_map, tuple(int(i) for i in range(1, VOID) if areas[i] >= MIN_AREA))


class SquareCrops(IterableDataset[list[Sample]]):
    """Batches of random squares, without end; photographs and frames of sequences have equal shares."""

    def __init__(self, stills: Sequence[Annotated], frames: Sequence[Annotated], batch: int, seed: int) -> None:
        """Take the images.

        Args:
            stills: photographs.
            frames: frames of sequences; one of both may be empty.
            batch: number of squares in a batch.
            seed: of the random choices.
        """
        self._pools = [pool for pool in (stills, frames) if pool]
        self._batch, self._seed = batch, seed

    def __iter__(self) -> Iterator[list[Sample]]:
        """Yield batches."""
        torch.set_num_threads(1)
        network = load_efficientnet_lite().to(memory_format=torch.channels_last)
        rng = np.random.default_rng(self._seed)
        while True:
            squares = [self._square(rng) for _ in range(self._batch)]
            pixels = torch.from_numpy(np.stack([image for image, _, _ in squares])).permute(0, 3, 1, 2).float()
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                levels = network(pixels)
            yield [
                Sample({s: levels[s][k].half() for s in (4, 8, 16, 32)}, label_map, object_id)
                for k, (_, label_map, object_id) in enumerate(squares)
            ]

    def _square(self, rng: np.random.Generator) -> tuple[Image, LabelMap, int]:
        while True:
            ground_is_drawn = rng.random() < DRAWN_GROUND_SHARE
            image, label_map, object_id = self._cut(rng)
            if ground_is_drawn:
                image, label_map = _texture(rng), np.zeros_like(label_map)
            if ground_is_drawn or rng.random() < PASTED_SHARE:
                if ground_is_drawn or rng.random() < DRAWN_SHARE:
                    pasted, mask = _texture(rng), _shape(rng)
                else:
                    pasted, pasted_map, pasted_id = self._cut(rng)
                    mask = pasted_map == pasted_id
                if mask.mean() < 0.5:
                    image = _pasted(image, pasted, mask)
                    label_map = np.where(mask, PASTED_ID, label_map).astype(np.uint8)
                    object_id = PASTED_ID if ground_is_drawn or rng.random() < 0.6 else object_id
            area = int((label_map == object_id).sum())
            if MIN_AREA <= area < 0.9 * SIDE * SIDE:
                return _recoloured(image, rng), label_map, object_id

    def _cut(self, rng: np.random.Generator) -> tuple[Image, LabelMap, int]:
        """Cut a square with an object out of a random image, at a random scale; half are mirrored."""
        pool = self._pools[int(rng.integers(len(self._pools)))]
        source = pool[int(rng.integers(len(pool)))]
        object_id = source.object_ids[int(rng.integers(len(source.object_ids)))]
        rows, columns = (np.flatnonzero((source.label_map == object_id).any(axis=axis)) for axis in (1, 0))
        size = np.array(source.label_map.shape)
        low, high = np.array([rows[0], columns[0]]), np.array([rows[-1], columns[-1]]) + 1
        scale = np.exp(rng.uniform(*np.log(OBJECT_SIDES))) / float((high - low).max())
        scale = float(np.clip(scale, SIDE / size.min(), max(MOST_SCALE, SIDE / size.min())))
        sides = np.minimum(SIDE / scale * np.exp(rng.uniform(-0.12, 0.12, 2)), size).round().astype(int)
        place = (low + high) / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(sides - 0.7 * (high - low), 0.1 * sides)
        y, x = np.clip((place - sides / 2).round(), 0, size - sides).astype(int)
        region = np.s_[y : y + sides[0], x : x + sides[1]]
        step = int(rng.choice([-1, 1]))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(source.image[region], (SIDE, SIDE), interpolation=way)[:, ::step]
        label_map = cv2.resize(source.label_map[region], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)[:, ::step]
        return np.ascontiguousarray(image), np.ascontiguousarray(label_map), object_id


def _texture(rng: np.random.Generator) -> Image:
    """Draw a plane of one colour, or of smooth or blocky noise: uint8 (SIDE, SIDE, 3)."""
    cells = int(rng.choice([1, 3, 8, 24, 80]))
    noise = rng.uniform(0, 255, 3) + rng.normal(0, rng.uniform(5, 60), (cells, cells, 3))
    way = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    plane = cv2.resize(np.clip(noise, 0, 255).astype(np.float32), (SIDE, SIDE), interpolation=way)
    return np.clip(plane, 0, 255).astype(np.uint8)


def _shape(rng: np.random.Generator) -> BoolArray:
    """Draw an ellipse or a polygon: bool (SIDE, SIDE)."""
    plane = np.zeros((SIDE, SIDE), np.uint8)
    radius = np.exp(rng.uniform(*np.log(OBJECT_SIDES))) / 2
    centre = rng.uniform(0.1 * SIDE, 0.9 * SIDE, 2)
    if rng.random() < 0.5:
        axes = np.maximum(radius * rng.uniform(0.3, 1, 2), 3)
        cv2.ellipse(plane, centre.astype(int).tolist(), axes.astype(int).tolist(), rng.uniform(0, 180), 0, 360, 1, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        reach = np.maximum(radius * rng.uniform(0.4, 1, len(angles)), 4)
        corners = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]
        cv2.fillPoly(plane, [corners.round().astype(np.int32)], 1)
    return np.asarray(plane > 0)


def _pasted(image: Image, other: Image, mask: BoolArray) -> Image:
    """Lay the masked part of another image over an image, with a soft edge."""
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)[..., None]
    blend: AnyArray = image * (1 - alpha) + other * alpha
    return np.asarray(blend.round(), dtype=np.uint8)


def _recoloured(image: Image, rng: np.random.Generator) -> Image:
    """Change brightness, contrast and colours; some squares become grey, blurred or noisy."""
    values: AnyArray = image.astype(np.float32)
    mean = values.mean()
    values = (values - mean) * rng.uniform(0.7, 1.3) + mean * rng.uniform(0.7, 1.3)
    values = values * rng.uniform(0.9, 1.1, 3)
    if rng.random() < 0.08:
        values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.12:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), float(rng.uniform(0.5, 2.0))))
    if rng.random() < 0.12:
        values = values + rng.normal(0, rng.uniform(2, 14), values.shape)
    return np.clip(values, 0, 255).astype(np.uint8)

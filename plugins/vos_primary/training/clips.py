"""Training clips of the primary object: a frame, the frames to which motion is computed, and what moves in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from vos.plugin import AnyArray, BoolArray, Image, InputError, LabelMap, object_ids, read_label_map
from vos_primary.motion import OFFSETS

SIDE = 384
"""Short side at which frames and photographs are kept, pixels."""
SIZE = (320, 544)
"""Height and width of a clip, pixels."""
MOST_OF_OBJECT = 0.6
"""Least share of an object's pixels that a random crop of a frame has to show."""
PHOTOGRAPHS, STILLS, PASTED, WITHOUT_MOTION, WITHOUT_ONE = 0.2, 0.05, 0.35, 0.12, 0.08
"""Shares: clips over a photograph under a moving camera; photographs at rest; clips of sequences with a pasted object;
sequences' frames without motion cues; and offsets without a frame."""
AREA = (0.002, 0.7)
"""Least and largest share of a clip's frame that its objects cover."""


@dataclass(frozen=True)
class Annotated:
    """An annotated sequence, or a photograph as a sequence of one frame.

    Attributes:
        images: uint8 (H, W, 3), RGB, each.
        masks: for each image a list of objects, bool (H, W).
    """

    images: list[Image]
    masks: list[list[BoolArray]]


@dataclass(frozen=True)
class MovingClip:
    """A training clip.

    Attributes:
        image: uint8 (*SIZE, 3), RGB.
        others: for each of ``OFFSETS`` the frame at that distance, or None.
        mask: bool SIZE, what moves in it.
    """

    image: Image
    others: list[Image | None]
    mask: BoolArray


def read_sequences(davis: Path, split: Path) -> list[Annotated]:
    """Read the sequences that a file names, a line each, from a DAVIS tree; all objects of a frame are one.

    Raises:
        InputError: a sequence has no frames there.
    """
    found = []
    for name in split.read_text().split():
        paths = sorted((davis / "JPEGImages/480p" / name).glob("*.jpg"))
        if not paths:
            raise InputError(f"{davis / 'JPEGImages/480p' / name}: no frames. Expected a DAVIS tree with {split}.")
        masks = [davis / "Annotations/480p" / name / f"{path.stem}.png" for path in paths]
        read = [_read(path, mask) for path, mask in zip(paths, masks, strict=True)]
        joined = [[np.asarray(np.any(objects, axis=0))] if objects else [] for _, objects in read]
        found.append(Annotated([image for image, _ in read], joined))
    return found


def read_photographs(folder: Path, leave_out: Sequence[str] = ()) -> list[Annotated]:
    """Read photographs with instance masks, ``JPEGImages/X.jpg`` and ``Annotations/X.png``, but for some names.

    Raises:
        InputError: there are none, or none of a name that is left out.
    """
    found = []
    paths = sorted((folder / "JPEGImages").glob("*.jpg"))
    if not paths:
        raise InputError(f"{folder / 'JPEGImages'}: no JPEG files there. Give the folder above it.")
    if unknown := set(leave_out) - {path.stem for path in paths}:
        raise InputError(f"{folder / 'JPEGImages'}: no {min(unknown)}.jpg, which --leave-out names.")
    for path in paths:
        image, objects = _read(path, folder / "Annotations" / f"{path.stem}.png")
        if objects and path.stem not in leave_out:
            found.append(Annotated([image], [objects]))
    return found


def _read(path: Path, mask_path: Path) -> tuple[Image, list[BoolArray]]:
    with PillowImage.open(path) as opened:
        image = np.asarray(opened.convert("RGB"))
    scale = SIDE / min(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    label_map = read_label_map(mask_path, (image.shape[0], image.shape[1]), allow_empty=True)
    small: LabelMap = np.asarray(cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(resized), [small == i for i in object_ids(small)]


class MovingClips:
    """Random clips: windows of sequences, photographs under a moving camera, and moving cut-outs over both."""

    def __init__(self, sequences: Sequence[Annotated], photographs: Sequence[Annotated], seed: int) -> None:
        """Take the sources; photographs may be empty."""
        self._sequences, self._photographs = sequences, photographs
        self._rng = np.random.default_rng(seed)

    def make(self) -> MovingClip:
        """Make a clip whose objects cover a share of ``AREA``."""
        while True:
            kind = self._rng.random() if self._photographs else 1.0
            if kind < STILLS:
                images, mask = self._still()
            elif kind < STILLS + PHOTOGRAPHS:
                images, mask = self._photograph()
            else:
                images, mask = self._sequence()
            if AREA[0] <= mask.mean() <= AREA[1]:
                images = _recoloured(images, self._rng)
                step = int(self._rng.choice([-1, 1]))
                first, *others = (None if one is None else np.ascontiguousarray(one[:, ::step]) for one in images)
                assert first is not None
                return MovingClip(first, others, np.ascontiguousarray(mask[:, ::step]))

    def _sequence(self) -> tuple[list[Image | None], BoolArray]:
        """Cut a random crop out of a random frame and those around it."""
        rng = self._rng
        source = self._sequences[int(rng.integers(len(self._sequences)))]
        indices = _indices(len(source.images), rng)
        masks = source.masks[indices[0]]
        region = self._crop(source.images[0].shape[:2], masks[0] if masks else None)
        images: list[Image | None] = [_resized(source.images[i][region]) for i in indices]
        mask = _resized_mask(masks[0][region]) if masks else np.zeros(SIZE, bool)
        if rng.random() < PASTED:
            mask = mask | self._paste(images)
        if rng.random() < WITHOUT_MOTION:
            images[1:] = [None] * len(OFFSETS)
        return [one if k == 0 or rng.random() >= WITHOUT_ONE else None for k, one in enumerate(images)], mask

    def _photograph(self) -> tuple[list[Image | None], BoolArray]:
        """Move a camera over a photograph, whose own objects rest, with one or two moving cut-outs before it."""
        rng = self._rng
        still = self._photographs[int(rng.integers(len(self._photographs)))].images[0]
        base = _resized(still[self._crop(still.shape[:2], None)])
        speed, angle = np.exp(rng.uniform(np.log(0.05), np.log(6))), rng.uniform(0, 2 * np.pi)
        roll, zoom = rng.normal(0, 0.1), rng.normal(0, 0.003)
        images: list[Image | None] = []
        for time in (0, *OFFSETS):
            matrix = cv2.getRotationMatrix2D((SIZE[1] / 2, SIZE[0] / 2), roll * time, float(np.exp(zoom * time)))
            matrix[:, 2] += speed * time * np.array([np.cos(angle), np.sin(angle)])
            images.append(np.asarray(cv2.warpAffine(base, matrix, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)))
        mask = self._paste(images)
        return images, mask | self._paste(images) if rng.random() < 0.4 else mask

    def _still(self) -> tuple[list[Image | None], BoolArray]:
        """Take a photograph without motion; its objects are those of at least a quarter of the largest one's area."""
        rng = self._rng
        source = self._photographs[int(rng.integers(len(self._photographs)))]
        objects = source.masks[0]
        largest = max(int(one.sum()) for one in objects)
        shown = np.asarray(np.any([one for one in objects if one.sum() >= largest / 4], axis=0))
        region = self._crop(shown.shape, shown)
        return [_resized(source.images[0][region]), *[None] * len(OFFSETS)], _resized_mask(shown[region])

    def _crop(self, size: tuple[int, ...], mask: BoolArray | None) -> tuple[slice, slice]:
        """Choose a crop of about the clip's shape that shows most of a mask."""
        rng = self._rng
        for _ in range(20):
            share = rng.uniform(0.55, 1.0) if mask is None or rng.random() < 0.8 else 1.0
            height = share * min(size[0], size[1] * SIZE[0] / SIZE[1])
            width = min(height * SIZE[1] / SIZE[0] * float(np.exp(rng.uniform(-0.15, 0.15))), size[1])
            y, x = (int(rng.uniform(0, size[axis] - side + 1)) for axis, side in enumerate((height, width)))
            region = np.s_[y : y + int(height), x : x + int(width)]
            if mask is None or mask[region].sum() >= MOST_OF_OBJECT * mask.sum():
                return region
        return np.s_[0 : size[0], 0 : size[1]]

    def _paste(self, images: list[Image | None]) -> BoolArray:
        """Paste a moving cut-out over the images, in place.

        It is an object of a sequence, with its own motion, or of a photograph, and moves on a straight line besides.

        Returns:
            bool SIZE, where it is in the first image.
        """
        rng = self._rng
        pool = self._photographs if self._photographs and rng.random() < 0.3 else self._sequences
        source = pool[int(rng.integers(len(pool)))]
        indices = _indices(len(source.images), rng)
        number = int(rng.integers(100))
        shown = [source.masks[i][number % len(source.masks[i])] if source.masks[i] else None for i in indices]
        empty = np.zeros(SIZE, dtype=bool)
        if shown[0] is None:
            return empty
        rows, columns = (np.flatnonzero(shown[0].any(axis=axis)) for axis in (1, 0))
        middle = np.array([columns[0] + columns[-1], rows[0] + rows[-1]]) / 2
        longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        scale = min(2.0, rng.uniform(0.1, 0.6) * SIZE[1] / longest) * int(rng.choice([-1, 1]))
        place = rng.uniform(0.1, 0.9, 2) * SIZE[::-1]
        angle, speed = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(0.3), np.log(8)))
        first = empty
        for k, (time, index) in enumerate(zip((0, *OFFSETS), indices, strict=True)):
            mask, image = shown[k], images[k]
            if mask is None or image is None:
                continue
            shift = place + speed * time * np.array([np.cos(angle), np.sin(angle)])
            scales = np.array([scale, abs(scale)])
            matrix = np.column_stack([np.diag(scales), shift - scales * middle])
            laid = cv2.warpAffine(source.images[index], matrix, SIZE[::-1])
            alpha = cv2.warpAffine(mask.astype(np.float32), matrix, SIZE[::-1])[..., None]
            images[k] = np.asarray((image * (1 - alpha) + laid * alpha).round(), dtype=np.uint8)
            first = np.asarray(alpha[..., 0] > 0.5) if k == 0 else first
        return first


def _indices(count: int, rng: np.random.Generator) -> list[int]:
    """Choose a frame and those at once or twice the offsets, forward or backward, all within the sequence."""
    way = int(rng.choice([-1, 1])) * int(rng.choice([1, 1, 2]))
    start = int(rng.integers(count))
    if not 0 <= start + way * OFFSETS[-1] < count:
        way = -way
    return [min(max(start + way * offset, 0), count - 1) for offset in (0, *OFFSETS)]


def _resized(image: Image) -> Image:
    return np.asarray(cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_LINEAR))


def _resized_mask(mask: BoolArray) -> BoolArray:
    return np.asarray(cv2.resize(mask.astype(np.uint8), SIZE[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def _recoloured(images: list[Image | None], rng: np.random.Generator) -> list[Image | None]:
    """Change brightness, contrast and colours of all alike; some become grey, blurred or noisy."""
    contrast, brightness, gains = rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.3), rng.uniform(0.9, 1.1, 3)
    grey, blur, noise = rng.random() < 0.06, rng.random() < 0.1, rng.random() < 0.1
    changed: list[Image | None] = []
    for image in images:
        if image is None:
            changed.append(None)
            continue
        values: AnyArray = image.astype(np.float32)
        mean = values.mean()
        values = ((values - mean) * contrast + mean * brightness) * gains
        if grey:
            values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
        if blur:
            values = np.asarray(cv2.GaussianBlur(values, (0, 0), 1.2))
        if noise:
            values = values + rng.normal(0, 8, values.shape)
        changed.append(np.clip(values, 0, 255).astype(np.uint8))
    return changed

"""Tiny sequences with exact masks: drawn pixel by pixel, so that the label map is the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image as PillowImage

from vos.io.masks.mask_file import write_label_map
from vos.types.annotation import Annotation
from vos.types.arrays import BoolArray, Image, LabelMap, Size
from vos.types.frame import Frame
from vos.types.label_map import object_ids
from vos.types.source_info import SourceInfo

Kind = Literal["moving", "still", "vanishing", "later", "crossing"]

Position: TypeAlias = tuple[float, float] | None
"""Centre (y, x) of an object as a share of the frame's height and width; None where it is absent."""

_COLOURS = ((214, 48, 38), (40, 90, 220), (242, 196, 30), (150, 40, 170))


@dataclass(frozen=True, eq=False)
class TinySequence:
    """A few small frames and the exact label map of each; it is also a ``vos.plugin.Source``.

    Attributes:
        name: its kind and size, also the sequence's name in a run.
        images: N images, uint8 (H, W, 3) RGB.
        label_maps: N label maps, uint8 (H, W), exact.
        annotations: one for each frame where objects appear for the first time, holding those alone.
        first_index: ``frame.index`` of the first frame.
        index_step: difference between two frames' indices.
    """

    name: str
    images: tuple[Image, ...]
    label_maps: tuple[LabelMap, ...]
    annotations: tuple[Annotation, ...]
    first_index: int = 0
    index_step: int = 1

    @property
    def info(self) -> SourceInfo:
        """As ``vos.plugin.Source.info``."""
        return SourceInfo(
            location=self.name, name=self.name, kind="tiny sequence", frame_count=len(self.images), size=self.size
        )

    @property
    def size(self) -> Size:
        """(H, W) of every frame, in pixels."""
        height, width = self.label_maps[0].shape
        return int(height), int(width)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """All ids of the sequence, ascending."""
        return tuple(sorted({i for annotation in self.annotations for i in annotation.object_ids}))

    def frame(self, position: int) -> Frame:
        """Make one frame, with pixels of its own.

        Args:
            position: place in the sequence, from 0.
        Returns:
            The frame; its index is ``first_index + position * index_step``.
        """
        index = self.first_index + position * self.index_step
        return Frame(index, self.images[position].copy(), f"{index:05d}")

    def frames(self, indices: range | None = None) -> Iterator[Frame]:
        """As ``vos.plugin.Source.frames``; indices count positions in the sequence."""
        for position in range(len(self.images)) if indices is None else indices:
            yield self.frame(position)

    def close(self) -> None:
        """As ``vos.plugin.Source.close``: nothing to release."""

    def save(self, folder: Path | str) -> tuple[Path, Path]:
        """Write the sequence as files, to try a command line on it.

        Args:
            folder: created if absent.
        Returns:
            The folder of images (``frames/00000.png``) and the folder of label maps (``masks/00000.png``).
        """
        images, masks = Path(folder) / "frames", Path(folder) / "masks"
        images.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        for position, (image, label_map) in enumerate(zip(self.images, self.label_maps, strict=True)):
            PillowImage.fromarray(image).save(images / f"{position:05d}.png")
            write_label_map(masks / f"{position:05d}.png", label_map)
        return images, masks


def tiny_sequence(
    kind: Kind = "moving",
    *,
    size: Size = (48, 64),
    length: int = 8,
    object_ids: Sequence[int] = (1, 2),
    seed: int = 0,
    first_index: int = 0,
    index_step: int = 1,
) -> TinySequence:
    """Draw a sequence: textured discs and squares before a textured background, whole pixels, no blur.

    Kinds: ``"moving"`` (all objects move a little, to and fro), ``"still"`` (every frame is the first one),
    ``"vanishing"`` (the first object is absent from the middle third, then returns), ``"later"``
    (only the first object is there from the start; the others appear one frame after another from
    frame 2 on), ``"crossing"`` (objects pass in front of one another).

    Args:
        kind: what happens.
        size: (H, W), pixels, at least 1 x 1.
        length: number of frames, at least 1.
        object_ids: ids from 1 to 254; the first is drawn first, so later ones hide it.
        seed: of the textures.
        first_index: ``frame.index`` of the first frame.
        index_step: difference of two frames' indices; negative for a run backward.
    Returns:
        The sequence.
    Raises:
        ValueError: an unknown kind.
    """
    if kind not in get_args(Kind):
        raise ValueError(f'no kind of tiny sequence is named "{kind}". There are: {", ".join(get_args(Kind))}.')
    height, width = size
    random = np.random.default_rng(seed)
    background = _texture(random, size, (96, 116, 96), 24)
    skins = [_texture(random, size, _COLOURS[k % len(_COLOURS)], 36) for k in range(len(object_ids))]
    images, label_maps = [], []
    for t in range(length):
        image = background.copy()
        label_map = np.zeros(size, dtype=np.uint8)
        for k, object_id in enumerate(object_ids):
            position = _position(kind, k, len(object_ids), t, length)
            if position is None:
                continue
            shape = _square if k % 2 else _disc
            centre = round(position[0] * (height - 1)), round(position[1] * (width - 1))
            mask = shape(size, centre, max(1, round(min(size) * 0.16)))
            image[mask] = skins[k][mask]
            label_map[mask] = object_id
        images.append(image)
        label_maps.append(label_map)
    return TinySequence(
        f"{kind}-{width}x{height}",
        tuple(images),
        tuple(label_maps),
        tuple(_first_appearances(label_maps)),
        first_index,
        index_step,
    )


def _position(kind: Kind, k: int, count: int, t: int, length: int) -> Position:
    y = (k + 1) / (count + 1)
    drift = 0.0 if kind == "still" else 0.02 * (10 - abs(t % 20 - 10))
    if kind == "crossing":
        progress = t / max(1, length - 1)
        return 0.4 + 0.1 * k, 0.25 + 0.5 * (progress if k % 2 else 1 - progress)
    if kind == "vanishing" and k == 0 and length // 3 <= t < length - length // 3:
        return None
    if kind == "later" and k > 0 and t < k + 1:
        return None
    return y, (0.3 + drift) if k % 2 else (0.7 - drift)


def _disc(size: Size, centre: tuple[int, int], radius: int) -> BoolArray:
    y, x = np.ogrid[: size[0], : size[1]]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def _square(size: Size, centre: tuple[int, int], radius: int) -> BoolArray:
    y, x = np.ogrid[: size[0], : size[1]]
    return np.asarray((abs(y - centre[0]) <= radius) & (abs(x - centre[1]) <= radius))


def _texture(random: np.random.Generator, size: Size, colour: tuple[int, int, int], contrast: int) -> Image:
    """Smooth noise around a colour, uint8 (H, W, 3): something to correlate, without fine grain."""
    import cv2  # here, so that importing a plugin's tests stays quick

    coarse = random.uniform(-contrast, contrast, (size[0] // 4 + 2, size[1] // 4 + 2, 3)).astype(np.float32)
    noise = np.asarray(cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC))
    return np.clip(np.array(colour) + noise.reshape(*size, 3), 0, 255).astype(np.uint8)


def _first_appearances(label_maps: Sequence[LabelMap]) -> Iterator[Annotation]:
    seen: set[int] = set()
    for t, label_map in enumerate(label_maps):
        new = [i for i in object_ids(label_map) if i not in seen]
        if new:
            yield Annotation(np.where(np.isin(label_map, new), label_map, 0).astype(np.uint8), t)
            seen.update(new)

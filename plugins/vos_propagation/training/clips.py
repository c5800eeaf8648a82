"""Training clips of real video, photographs and drawings: windows of sequences, warped stills, pasted cut-outs.

Source: pre-training on deformed stills and pasted objects as STM (Oh et al., arXiv:1904.00607) and STCN (Cheng et
al., arXiv:2106.05210); main training on real video.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PilImage

from vos.plugin import FloatArray, Image, InputError, LabelMap, read_label_map
from vos_propagation.training.drawn_clips import draw_clip
from vos_propagation.training.occluders import paste_occluder

# Height of a clip, pixels, and the area of the smallest object that is learnt from or pasted.
HEIGHT, SMALLEST = 480, 400
# How often a clip is drawn, or made of a photograph; and in the others, objects are pasted over it, something passes in
# front of its objects, and the camera zooms and rolls.
DRAWN, STILLS, PASTED, OCCLUDED, ZOOMED = 0.1, 0.15, 0.35, 0.5, 0.35
# How often a pasted object is of the clip's own sequence: a distractor of the same class.
ALIKE = 0.15


@dataclass(frozen=True)
class Clip:
    """A training clip.

    Attributes:
        images: uint8 (H, W, 3) RGB, of one size.
        label_maps: uint8 (H, W), the truth of each image.
        name: the sequence that it is of; empty for a photograph.
    """

    images: list[Image]
    label_maps: list[LabelMap]
    name: str = ""


def read_rgb(path: Path) -> Image:
    """Read an image file as uint8 (H, W, 3), RGB."""
    return np.asarray(PilImage.open(path).convert("RGB"))


class VideoFolder:
    """The sequences of a DAVIS tree; label 1 is a sequence's object."""

    def __init__(self, root: Path, split: str) -> None:
        """List the frames of a split such as "2016/train".

        Raises:
            InputError: there is no such split, or a sequence of it has no frames.
        """
        self._root = root
        listed = root / "ImageSets" / f"{split}.txt"
        if not listed.is_file():
            raise InputError(f"{listed}: no such file. Give the root of a DAVIS tree, and one of its image sets.")
        self.stems: dict[str, list[str]] = {}
        for name in listed.read_text().split():
            folder = root / "JPEGImages/480p" / name
            self.stems[name] = [path.stem for path in sorted(folder.glob("*.jpg"))]
            if not self.stems[name]:
                raise InputError(f"{folder}: no JPEG files there, and {listed} names the sequence.")

    def read(self, name: str, index: int) -> tuple[Image, LabelMap]:
        """Read a frame, RGB, and its label map of 0 and 1."""
        stem = self.stems[name][index]
        image = read_rgb(self._root / "JPEGImages/480p" / name / f"{stem}.jpg")
        label_map = read_label_map(self._root / "Annotations/480p" / name / f"{stem}.png", allow_empty=True)
        return image, (label_map == 1).astype(np.uint8)


class PhotoFolder:
    """Photographs with instance masks, ids from 1; 255 is ignored."""

    def __init__(self, root: Path) -> None:
        """List the photographs of a folder with ``JPEGImages`` and ``Annotations``.

        Raises:
            InputError: there are none.
        """
        self._root = root
        self.names = sorted(path.stem for path in (root / "JPEGImages").glob("*.jpg"))
        if not self.names:
            raise InputError(f"{root / 'JPEGImages'}: no JPEG files there. Give the folder above it.")

    def read(self, name: str) -> tuple[Image, LabelMap]:
        """Read a photograph, RGB, and its instances."""
        image = read_rgb(self._root / "JPEGImages" / f"{name}.jpg")
        label_map = np.array(PilImage.open(self._root / "Annotations" / f"{name}.png"))
        return image, label_map


class ClipMaker:
    """Draws clips; the same seed gives the same clip."""

    def __init__(self, videos: VideoFolder, photos: PhotoFolder | None, length: int) -> None:
        """Draw from these; a clip has at most ``length`` frames."""
        self._videos, self._photos, self._length = videos, photos, length

    def draw(self, seed: int) -> Clip | None:
        """Draw a clip; None where the object drawn is too small to learn from."""
        rng = random.Random(seed)
        if rng.random() < DRAWN:
            size = HEIGHT, HEIGHT * 16 // 9
            return Clip(*draw_clip(size, self._length, rng))
        is_still = self._photos is not None and rng.random() < STILLS
        clip = self._still(rng) if is_still else self._window(rng)
        if rng.random() < PASTED:
            clip = self._with_cutouts(clip, rng)
        if rng.random() < ZOOMED:
            clip = zoomed(clip, rng)
        if rng.random() < OCCLUDED:
            clip = self._occluded(clip, rng)
        clip = viewed(clip, View.draw(clip.label_maps[0], rng))
        areas = np.bincount(clip.label_maps[0].ravel(), minlength=2)[1:]
        return clip if areas.max() >= SMALLEST else None

    def _window(self, rng: random.Random) -> Clip:
        name = rng.choice(list(self._videos.stems))
        count = len(self._videos.stems[name])
        step = min(rng.choice([1, 1, 1, 2, 2, 3, 4]), max(1, (count - 1) // (self._length - 1)))
        indices = np.arange(self._length) * step
        indices = indices[indices < count]
        indices = indices + rng.randrange(count - indices[-1])
        if rng.random() < 0.5:
            indices = indices[::-1]
        images, maps = zip(*(self._videos.read(name, int(index)) for index in indices), strict=True)
        return Clip(list(images), list(maps), name)

    def _still(self, rng: random.Random) -> Clip:
        """Move a camera over a photograph; one to three large instances are the objects."""
        assert self._photos is not None
        while True:
            image, instances = self._photos.read(rng.choice(self._photos.names))
            areas = np.bincount(instances.ravel(), minlength=256)
            large = [i for i in range(1, 255) if areas[i] > 0.01 * instances.size]
            if large:
                break
        rng.shuffle(large)
        label_map = np.zeros_like(instances)
        for object_id, instance in enumerate(large[: rng.choice([1, 1, 1, 2, 3])], start=1):
            label_map[instances == instance] = object_id
        count = min(self._length, 6)
        height, width = label_map.shape
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        reach = 0.16 * np.array([width, height])
        first, last = (
            corners + np.array([[rng.uniform(-side, side) for side in reach] for _ in corners]) for _ in range(2)
        )
        images, maps = [], []
        for part in np.linspace(0, 1, count):
            warp = cv2.getPerspectiveTransform(corners, (first + part * (last - first)).astype(np.float32))
            seen = cv2.warpPerspective(image, warp, (width, height), borderMode=cv2.BORDER_REFLECT_101)
            images.append(np.asarray(seen, np.uint8))
            labels = cv2.warpPerspective(label_map, warp, (width, height), flags=cv2.INTER_NEAREST)
            maps.append(np.asarray(labels, np.uint8))
        return Clip(images, maps)

    def _with_cutouts(self, clip: Clip, rng: random.Random) -> Clip:
        """Paste moving objects of other sequences, or of the same at another time, into a clip.

        Half of them are objects to be tracked, the others distractors; half of all pass behind the clip's own objects.
        """
        images, maps = [image.copy() for image in clip.images], [label_map.copy() for label_map in clip.label_maps]
        for _ in range(rng.choice([1, 1, 2])):
            top = max(int(label_map.max()) for label_map in maps)
            self._paste_object(Clip(images, maps, clip.name), top + 1 if rng.random() < 0.5 else 0, rng)
        return Clip(images, maps, clip.name)

    def _occluded(self, clip: Clip, rng: random.Random) -> Clip:
        """Paste one or two moving occluders, textured by another frame or photograph, over the objects."""
        images, maps = [image.copy() for image in clip.images], [label_map.copy() for label_map in clip.label_maps]
        for _ in range(rng.choice([1, 1, 2])):
            if self._photos is not None and rng.random() < 0.4:
                texture, _ = self._photos.read(rng.choice(self._photos.names))
            else:
                name = clip.name if clip.name and rng.random() < 0.5 else rng.choice(list(self._videos.stems))
                texture, _ = self._videos.read(name, rng.randrange(len(self._videos.stems[name])))
            paste_occluder(images, maps, texture, rng)
        return Clip(images, maps, clip.name)

    def _paste_object(self, clip: Clip, object_id: int, rng: random.Random) -> None:
        """Paste an object, with its own motion and a drift, into a clip in place; id 0 is a distractor."""
        height, width = clip.label_maps[0].shape
        name = clip.name if clip.name and rng.random() < ALIKE else rng.choice(list(self._videos.stems))
        count = len(self._videos.stems[name])
        start, step = rng.randrange(count), rng.choice([-1, 1, 2])
        behind, flip, side = rng.random() < 0.4, rng.random() < 0.5, rng.uniform(0.1, 0.45) * height
        place = np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.2, 0.85) * height])
        velocity = np.array([rng.gauss(0, 0.03) * width, rng.gauss(0, 0.008) * height])
        scale = 0.0
        for number, (image, label_map) in enumerate(zip(clip.images, clip.label_maps, strict=True)):
            # At the end of its sequence the object turns back.
            position = abs(start + number * step) % (2 * count)
            cutout = self._cutout(name, min(position, 2 * count - 1 - position))
            if cutout is None:
                continue
            colours, alpha = cutout
            scale = scale or side / float(np.sqrt((alpha > 0.5).sum()))
            matrix = np.array([[-scale if flip else scale, 0, 0], [0, scale, 0]], np.float32)
            middle = matrix @ np.array([alpha.shape[1] / 2, alpha.shape[0] / 2, 1.0])
            matrix[:, 2] = place + number * velocity - middle
            cover = cv2.warpAffine(alpha, matrix, (width, height), flags=cv2.INTER_LINEAR)
            if behind:
                cover = cover * (label_map == 0)
            over = cv2.warpAffine(colours, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
            image[:] = (image + cover[..., None] * (over - image)).round().clip(0, 255).astype(np.uint8)
            label_map[cover > 0.5] = object_id

    def _cutout(self, name: str, index: int) -> tuple[FloatArray, FloatArray] | None:
        """Cut an object out: colours float32 (h, w, 3) and alpha float32 (h, w); None if it is too small."""
        image, mask = self._videos.read(name, index)
        mask = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)))
        rows, columns = np.nonzero(mask)
        if len(rows) < SMALLEST:
            return None
        y, x = (slice(max(0, int(at.min()) - 3), int(at.max()) + 4) for at in (rows, columns))
        alpha = cv2.GaussianBlur(mask[y, x].astype(np.float32), (0, 0), 0.8)
        return image[y, x].astype(np.float32), np.asarray(alpha)


@dataclass(frozen=True)
class View:
    """Augmentation of a whole clip: crop, resizing, flip and colours.

    Attributes:
        rows: rows of the crop.
        columns: columns of the crop.
        size_wh: (W, H) after resizing.
        flip: mirror horizontally.
        gain: float32 (3,), factor of each colour channel.
        shift: added to each value, on the scale to 255.
        saturation: factor of the saturation; 1 leaves it unchanged.
    """

    rows: slice
    columns: slice
    size_wh: tuple[int, int]
    flip: bool
    gain: FloatArray
    shift: float
    saturation: float

    @classmethod
    def draw(cls, label_map: LabelMap, rng: random.Random) -> View:
        """Draw a random augmentation whose crop holds a pixel of the first frame's objects."""
        height, width = label_map.shape
        part = rng.choice([1.0, 1.0, rng.uniform(0.35, 1.0)])
        stretch = rng.uniform(0.85, 1.18)
        h, w = max(32, int(height * part)), max(32, int(width * part))
        seen = np.argwhere(label_map)
        y, x = seen[rng.randrange(len(seen))] if len(seen) else (height // 2, width // 2)
        top = int(min(max(y - h * rng.uniform(0.3, 0.7), 0), height - h))
        left = int(min(max(x - w * rng.uniform(0.3, 0.7), 0), width - w))
        gain = np.array([rng.uniform(0.85, 1.15) for _ in range(3)], np.float32) * rng.uniform(0.75, 1.3)
        return cls(
            rows=slice(top, top + h),
            columns=slice(left, left + w),
            size_wh=(max(HEIGHT, int(HEIGHT * w / h * stretch)), HEIGHT),
            flip=rng.random() < 0.5,
            gain=gain,
            shift=rng.uniform(-20, 20),
            saturation=rng.uniform(0.5, 1.4),
        )

    def apply(self, image: Image, label_map: LabelMap) -> tuple[Image, LabelMap]:
        """Return a frame as it is seen."""
        view = cv2.resize(image[self.rows, self.columns], self.size_wh, interpolation=cv2.INTER_LINEAR)
        values = view.astype(np.float32)
        grey = values.mean(2, keepdims=True)
        values = ((grey + self.saturation * (values - grey)) * self.gain + self.shift).clip(0, 255).astype(np.uint8)
        labels = np.asarray(
            cv2.resize(label_map[self.rows, self.columns], self.size_wh, interpolation=cv2.INTER_NEAREST)
        )
        if self.flip:
            values, labels = values[:, ::-1], labels[:, ::-1]
        return np.ascontiguousarray(values), np.ascontiguousarray(labels)


def zoomed(clip: Clip, rng: random.Random) -> Clip:
    """Zoom in or out on the first frame's objects by up to 2, and roll the camera by up to 24 degrees."""
    height, width = clip.label_maps[0].shape
    seen = np.argwhere(clip.label_maps[0])
    y, x = seen.mean(0) if len(seen) else (height / 2, width / 2)
    scales, angles = [rng.uniform(1.0, 2.0) for _ in range(2)], [rng.uniform(-12, 12) for _ in range(2)]
    images, maps = [], []
    for part, image, label_map in zip(np.linspace(0, 1, len(clip.images)), clip.images, clip.label_maps, strict=True):
        scale, angle = (first + part * (last - first) for first, last in (scales, angles))
        matrix = cv2.getRotationMatrix2D((float(x), float(y)), angle, scale)
        seen_image = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        labels = cv2.warpAffine(
            label_map, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
        )
        images.append(np.asarray(seen_image, np.uint8))
        maps.append(np.asarray(labels, np.uint8))
    return Clip(images, maps, clip.name)


def viewed(clip: Clip, view: View) -> Clip:
    """Show a whole clip in one view."""
    frames = [view.apply(*frame) for frame in zip(clip.images, clip.label_maps, strict=True)]
    return Clip([image for image, _ in frames], [label_map for _, label_map in frames], clip.name)

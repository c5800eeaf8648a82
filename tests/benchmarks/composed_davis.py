"""Composites of a DAVIS tree's sequences, with exact labels: objects of some, cut out, move over others.

Object 1 is that of the sequence that lies below; 2 and 3 are cut out of other sequences, with their own motion, and go
through a few places one after the other. Four kinds: ``plain`` ones, ``hard`` ones (small and fast), ``twins`` (2
and 3 are the same object, at different times of its sequence), and ``crossing`` twins (2 and 3 change places along a
line, and 3 hides 2 in the middle).

    python tests/benchmarks/composed_davis.py twins --davis ../shared/davis --out twins
    vos davis --root twins --set 2017/val -o out
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

import vos
from vos.io.masks.mask_file import encode_label_map
from vos.plugin import AnyArray

Image: TypeAlias = AnyArray
"""uint8 (H, W, 3), blue first."""

# Frames of a composite, places that an object goes through, and how much of each object is seen at first.
LENGTH, PLACES, SEEN = 44, 5, 0.8
TRIES = 1000
# Cut-outs lose their rim, and their edges are blurred by so many pixels.
FEATHER = 0.8


@dataclass(frozen=True)
class Kind:
    """A kind of composite; all lengths are of frames of 480 px in height.

    Attributes:
        sides: smallest and largest root of a cut-out's area, pixels.
        ways: shortest and longest way from one place to the next, pixels.
        twins: whether both cut-outs are of one sequence.
        crossing: whether they change places.
    """

    sides: tuple[float, float]
    ways: tuple[float, float]
    twins: bool = False
    crossing: bool = False


KINDS = {
    "plain": Kind(sides=(90, 190), ways=(30, 160)),
    "hard": Kind(sides=(28, 80), ways=(150, 420)),
    "twins": Kind(sides=(90, 190), ways=(30, 160), twins=True),
    "crossing": Kind(sides=(70, 130), ways=(110, 150), twins=True, crossing=True),
}


class Sequence:
    """A sequence of a DAVIS tree; label 1 is its object."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self._images, self._masks = (root / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
        self._stems = [path.stem for path in sorted(self._images.glob("*.jpg"))]

    def __len__(self) -> int:
        return len(self._stems)

    def image(self, index: int) -> Image:
        return np.asarray(cv2.imread(str(self._images / f"{self._stems[index]}.jpg")))

    def mask(self, index: int) -> AnyArray:
        """Give the object's mask, uint8 (H, W) of 0 and 1."""
        label_map = vos.read_label_map(self._masks / f"{self._stems[index]}.png", allow_empty=True)
        return (label_map == 1).astype(np.uint8)

    def cut_out(self, index: int) -> tuple[Image, AnyArray]:
        """Give the object's mask without its rim, and the image with what is around it filled by its colours."""
        mask = cv2.erode(self.mask(index), np.ones((3, 3), np.uint8))
        image = self.image(index)
        if mask.any():
            _, nearest = cv2.distanceTransformWithLabels(1 - mask, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
            colours = np.zeros((int(nearest.max()) + 1, 3), np.uint8)
            inside = mask == 1
            colours[nearest[inside]] = image[inside]
            image = colours[nearest]
        return image, np.asarray(mask)


@dataclass(frozen=True)
class CutOut:
    """An object that is pasted.

    Attributes:
        sequence: that it is of.
        start: its first frame there; the sequence is played back when it ends.
        scale: how much larger it becomes.
        places: float (PLACES, 2), where the middle of its first mask goes, (x, y) pixels.
    """

    sequence: Sequence
    start: int
    scale: float
    places: AnyArray

    def paste(self, time: int, image: Image, label_map: vos.LabelMap, object_id: int) -> None:
        """Paste it into a frame, in place."""
        height, width = label_map.shape
        both_ways = 2 * len(self.sequence) - 2
        index = (self.start + time) % both_ways
        picture, mask = self.sequence.cut_out(min(index, both_ways - index))
        middle = np.argwhere(self.sequence.mask(self.start)).mean(0)[::-1]
        shift = self._place(time) - self.scale * middle
        # At twice the size, then averaged: edges lie between pixels too.
        move = 2 * np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]]])
        alpha, colours = (
            cv2.resize(
                cv2.warpAffine(plane, move, (2 * width, 2 * height), borderMode=border),
                (width, height),
                interpolation=cv2.INTER_AREA,
            )
            for plane, border in ((255 * mask, cv2.BORDER_CONSTANT), (picture, cv2.BORDER_REPLICATE))
        )
        label_map[alpha > 127] = object_id
        soft = cv2.GaussianBlur(alpha.astype(np.float32) / 255, (0, 0), FEATHER)[..., None]
        image[:] = (soft * colours + (1 - soft) * image).round().astype(np.uint8)

    def _place(self, time: int) -> AnyArray:
        """Say where it is, (x, y); it slows down at each place."""
        along = min(time / (LENGTH - 1), 1) * (PLACES - 1)
        before = min(int(along), PLACES - 2)
        share = along - before
        share = share * share * (3 - 2 * share)
        return np.asarray((1 - share) * self.places[before] + share * self.places[before + 1])


def draw(sequences: list[Sequence], kind: Kind, rng: np.random.Generator) -> tuple[Sequence, list[CutOut]]:
    """Choose what lies below, and two cut-outs over it, so that most of each object is seen in the first frame.

    Raises:
        SystemExit: no such choice was found.
    """
    for _ in range(TRIES):
        below, cut_outs = _any(sequences, kind, rng)
        if _all_seen(below, cut_outs):
            return below, cut_outs
    raise SystemExit("the objects hide each other whatever is tried: name a tree with smaller ones")


def _any(sequences: list[Sequence], kind: Kind, rng: np.random.Generator) -> tuple[Sequence, list[CutOut]]:
    below, *others = rng.permutation(np.array(sequences, dtype=object)).tolist()
    height, width = below.mask(0).shape
    unit = height / 480
    cut_outs: list[CutOut] = []
    for sequence in [others[0]] * 2 if kind.twins else others[:2]:
        start = int(rng.integers(max(1, len(sequence) - LENGTH + 1)))
        crossed = cut_outs[0] if kind.crossing and cut_outs else None
        if crossed is None:
            side = unit * rng.uniform(*kind.sides)
        scale = side / max(1.0, float(sequence.mask(start).sum())) ** 0.5
        places = _places(kind, width, height, rng)
        cut_outs.append(CutOut(sequence, start, min(1.0, scale), crossed.places[::-1] if crossed else places))
    return below, cut_outs


def _places(kind: Kind, width: int, height: int, rng: np.random.Generator) -> AnyArray:
    """Choose where a cut-out goes: (PLACES, 2), (x, y) pixels; straight on where two cross."""
    places = [rng.uniform((0.18, 0.23), (0.82, 0.77)) * (width, height)]
    for number in range(PLACES - 1):
        if number == 0 or not kind.crossing:
            angle, way = rng.uniform(0, 2 * np.pi), height / 480 * rng.uniform(*kind.ways)
        place = places[-1] + way * np.array([np.cos(angle), 0.6 * np.sin(angle)])
        places.append(place.clip((0.04 * width, 0.1 * height), (0.96 * width, 0.9 * height)))
    return np.array(places)


def _all_seen(below: Sequence, cut_outs: list[CutOut]) -> bool:
    _, label_map = compose(below, cut_outs, 0)
    whole = [below.mask(0).sum(), *(c.scale**2 * c.sequence.mask(c.start).sum() for c in cut_outs)]
    return all((label_map == i).sum() >= SEEN * size > 0 for i, size in enumerate(whole, start=1))


def compose(below: Sequence, cut_outs: list[CutOut], time: int) -> tuple[Image, vos.LabelMap]:
    """Make a frame: its image and its label map."""
    image, label_map = below.image(time), below.mask(time)
    for object_id, cut_out in enumerate(cut_outs, start=2):
        cut_out.paste(time, image, label_map, object_id)
    return image, label_map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("--davis", type=Path, required=True, help="a DAVIS tree")
    parser.add_argument("--set", default="2016/val", help="image set under ImageSets whose sequences have one object")
    parser.add_argument("--count", type=int, default=16, help="how many composites")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    listed = arguments.davis / f"ImageSets/{arguments.set}.txt"
    if not listed.is_file():
        parser.error(f"{listed}: no such file. Name a DAVIS tree, and one of its image sets.")
    sequences = [Sequence(arguments.davis, name) for name in listed.read_text().split()]
    if len(sequences) < 3:
        parser.error(f"{listed}: has {len(sequences)} sequences, 3 or more are needed.")
    if arguments.out.exists():
        parser.error(f"{arguments.out}: exists. Name a new folder.")
    rng = np.random.default_rng(arguments.seed)
    names = [f"composite-{arguments.kind}-{number}" for number in range(arguments.count)]
    (arguments.out / "ImageSets/2017").mkdir(parents=True)
    (arguments.out / "ImageSets/2017/val.txt").write_text("\n".join([*names, ""]))
    for name in names:
        below, cut_outs = draw(sequences, KINDS[arguments.kind], rng)
        images, masks = (arguments.out / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
        for folder in (images, masks):
            folder.mkdir(parents=True)
        for time in range(min(LENGTH, len(below))):
            image, label_map = compose(below, cut_outs, time)
            cv2.imwrite(str(images / f"{time:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            (masks / f"{time:05d}.png").write_bytes(encode_label_map(label_map))
        print(f"{name}: {' and '.join(c.sequence.name for c in cut_outs)} over {below.name}", flush=True)


if __name__ == "__main__":
    main()

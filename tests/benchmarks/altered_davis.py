"""The same videos otherwise: a DAVIS tree whose frames and masks are altered alike.

A tracker whose settings were chosen on some videos should do as well on their mirror images, and not much worse when
they begin later, are seen closer, or through a blur. The tree that is written goes into any benchmark.

    python tests/benchmarks/altered_davis.py closer --davis ../shared/davis --out closer
    vos davis --root closer --set 2017/val -o out
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

import vos
from vos.io.masks.mask_file import encode_label_map
from vos.plugin import AnyArray

Picture: TypeAlias = AnyArray
"""uint8: an image (H, W, 3), blue first, or a label map (H, W)."""

# How much of a frame's sides is seen closer.
CLOSER = 0.65
# Standard deviations: of the blur, pixels, and of the noise in the dark, of 255.
BLUR, NOISE = 2.0, 6.0


def closer(picture: Picture, first: vos.LabelMap) -> Picture:
    """Enlarge the part of the frame around the first frame's objects."""
    size = picture.shape[:2]
    sides = [round(CLOSER * length) for length in size]
    middle = [at.mean() for at in np.nonzero(first)]
    starts = [int(np.clip(m - s / 2, 0, n - s)) for m, s, n in zip(middle, sides, size, strict=True)]
    part = picture[starts[0] : starts[0] + sides[0], starts[1] : starts[1] + sides[1]]
    kind = cv2.INTER_NEAREST if picture.ndim == 2 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, size[::-1], interpolation=kind))


def mirrored(picture: Picture, _: vos.LabelMap) -> Picture:
    """Turn left and right round."""
    return np.ascontiguousarray(picture[:, ::-1])


def blurred(picture: Picture, _: vos.LabelMap) -> Picture:
    """Put the image out of focus."""
    return picture if picture.ndim == 2 else np.asarray(cv2.GaussianBlur(picture, (0, 0), BLUR))


def darker(picture: Picture, _: vos.LabelMap) -> Picture:
    """Make the image dark and noisy; the noise follows from the image."""
    if picture.ndim == 2:
        return picture
    rng = np.random.default_rng(int(picture.sum()))
    dark = 0.7 * 255 * (picture / 255) ** 1.8 + rng.normal(0, NOISE, picture.shape)
    return dark.clip(0, 255).astype(np.uint8)


def unaltered(picture: Picture, _: vos.LabelMap) -> Picture:
    """Give it as it is."""
    return picture


WAYS: dict[str, tuple[Callable[[Picture, vos.LabelMap], Picture], Callable[[list[Any]], list[Any]]]] = {
    "closer": (closer, list),
    "mirrored": (mirrored, list),
    "blurred": (blurred, list),
    "darker": (darker, list),
    "later": (unaltered, lambda frames: frames[len(frames) // 3 :]),
    "backward": (unaltered, lambda frames: frames[::-1]),
}
"""How pictures are altered, and which frames are taken, in which order."""


def alter(root: Path, sequence: str, way: str, out: Path) -> None:
    """Write one sequence of a DAVIS tree, altered, into another tree; its frames are numbered anew."""
    change, choose = WAYS[way]
    images, masks = (root / kind / "480p" / sequence for kind in ("JPEGImages", "Annotations"))
    to_images, to_masks = (out / kind / "480p" / sequence for kind in ("JPEGImages", "Annotations"))
    for folder in (to_images, to_masks):
        folder.mkdir(parents=True)
    paths = choose(sorted(images.glob("*.jpg")))
    first = vos.read_label_map(masks / f"{paths[0].stem}.png", allow_empty=True)
    for number, path in enumerate(paths):
        image = change(cv2.imread(str(path)), first)
        label_map = change(vos.read_label_map(masks / f"{path.stem}.png", allow_empty=True), first)
        cv2.imwrite(str(to_images / f"{number:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 98])
        (to_masks / f"{number:05d}.png").write_bytes(encode_label_map(label_map))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=list(WAYS))
    parser.add_argument("--davis", type=Path, required=True, help="a DAVIS tree")
    parser.add_argument("--set", default="2017/val", help="image set under ImageSets")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args()
    listed = f"ImageSets/{arguments.set}.txt"
    if not (arguments.davis / listed).is_file():
        parser.error(f"{arguments.davis / listed}: no such file. Name a DAVIS tree, and one of its image sets.")
    if arguments.out.exists():
        parser.error(f"{arguments.out}: exists. Name a new folder.")
    names = (arguments.davis / listed).read_text().split()
    (arguments.out / listed).parent.mkdir(parents=True)
    (arguments.out / listed).write_text("\n".join([*names, ""]))
    for name in names:
        alter(arguments.davis, name, arguments.way, arguments.out)


if __name__ == "__main__":
    main()

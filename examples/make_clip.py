"""Make the example clip: two cut-outs fly over a photograph and cross; the masks are exact.

    python examples/make_clip.py vos/example_clip

Writes ``clip.mp4`` and ``masks/00000.png`` to ``masks/00071.png``. The photographs come with
scikit-image and are free of rights: "coffee" (Rachel Michetti, CC0), "astronaut" (NASA, public
domain; the shuttle model at its right is used) and "rocket" (SpaceX, CC0).
"""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from vos.plugin import write_label_map

FRAMES, FPS, WIDTH, HEIGHT = 72, 24, 480, 270
FINER = 3  # cut-outs are placed on a grid this much finer, then averaged down

SHUTTLE_OUTLINE = [
    (409, 2), (403, 9), (399, 20), (397, 34), (396, 58), (393, 52), (388, 42), (383, 50), (381, 62), (381, 88),
    (379, 112), (378, 180), (368, 193), (357, 205), (355, 221), (374, 227), (380, 229), (368, 259), (368, 270),
    (372, 269), (383, 257), (389, 247), (399, 244), (407, 249), (416, 248), (418, 238), (432, 235), (453, 233),
    (455, 224), (454, 206), (454, 62), (450, 49), (445, 41), (441, 46), (437, 52), (437, 35), (433, 20), (427, 8),
    (423, 2),
]  # fmt: skip
SPOON_HANDLE = [(396, 74), (402, 67), (412, 66), (424, 71), (424, 80), (414, 112), (404, 135), (396, 110)]

Pixels = NDArray[np.uint8]


@dataclass
class CutOut:
    """A picture with its outline."""

    image: Pixels
    alpha: Pixels
    middle: tuple[float, float]


def cut(image: Pixels, mask: Pixels) -> CutOut:
    x, y, width, height = cv2.boundingRect(mask)
    return CutOut(image, mask, (x + width / 2, y + height / 2))


def coffee_cup() -> CutOut:
    image = data.coffee()
    mask = np.zeros(image.shape[:2], dtype=np.uint8)
    cv2.ellipse(mask, (278, 222), (199, 165), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, (291, 113), (117, 94), 0, 0, 360, 255, -1)
    cv2.fillPoly(mask, [np.array(SPOON_HANDLE)], 255)
    return cut(image, mask)


def shuttle() -> CutOut:
    image = data.astronaut()
    mask = np.zeros(image.shape[:2], dtype=np.uint8)
    cv2.fillPoly(mask, [np.array(SHUTTLE_OUTLINE)], 255)
    return cut(image, mask)


def place(
    piece: CutOut, x: float, y: float, scale: float, degrees: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colours and alpha of a cut-out at a place in the frame, float32 (H, W, 3) and (H, W, 1)."""
    turn = cv2.getRotationMatrix2D(piece.middle, degrees, scale * FINER)
    turn[:, 2] += np.array([x, y]) * FINER - np.array(piece.middle)
    fine = (WIDTH * FINER, HEIGHT * FINER)
    colours = cv2.warpAffine(piece.image, turn, fine, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    alpha = cv2.warpAffine(piece.alpha, turn, fine, flags=cv2.INTER_LINEAR)
    colours = cv2.resize(colours, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(alpha, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return colours.astype(np.float32), (alpha.astype(np.float32) / 255)[..., None]


def background(t: float) -> NDArray[np.float32]:
    """The launch pad, panned slowly; t from 0 to 1."""
    image = data.rocket()
    left, top = 20 + 60 * t, 90 - 30 * t
    crop = np.float32([[left, top], [left + 520, top], [left, top + 292.5]])
    frame = np.float32([[0, 0], [WIDTH, 0], [0, HEIGHT]])
    matrix = cv2.getAffineTransform(crop, frame)
    return cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR).astype(np.float32)


def compose(number: int, cup: CutOut, craft: CutOut) -> tuple[Pixels, Pixels]:
    """One frame and its label map: the cup is object 1, the shuttle, which passes before it, object 2."""
    t = number / (FRAMES - 1)
    picture = background(t)
    label_map = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    bob, swell, sway = math.sin(2 * math.pi * t), math.sin(3 * t), math.sin(4 * t)
    placed = [
        place(cup, 105 + 250 * t, 160 + 26 * bob, 0.30 + 0.05 * swell, 25 * sway),
        place(craft, 395 - 300 * t, 95 + 90 * t * t, 0.50 + 0.08 * t, 28 + 40 * t),
    ]
    for object_id, (colours, alpha) in enumerate(placed, start=1):
        picture = picture * (1 - alpha) + colours * alpha
        label_map[alpha[..., 0] > 0.5] = object_id
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8), label_map


def main(folder: Path) -> None:
    masks = folder / "masks"
    shutil.rmtree(masks, ignore_errors=True)
    masks.mkdir(parents=True)
    cup, craft = coffee_cup(), shuttle()
    with av.open(str(folder / "clip.mp4"), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "18", "preset": "slow"}
        for number in range(FRAMES):
            picture, label_map = compose(number, cup, craft)
            write_label_map(masks / f"{number:05d}.png", label_map)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Drawn clips: flat and patterned shapes that lie still or move over a smooth ground, as in animations and screens."""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np

from vos.plugin import AnyArray, FloatArray, Image, LabelMap

SHAPES = ("rectangle", "rectangle", "ellipse", "polygon")
PATTERNS = ("flat", "blocks", "blocks", "stripes", "noise")
# Subpixels of each pixel's side, as a power of two, which OpenCV draws with.
SUBPIXELS = 4


@dataclass(frozen=True)
class Shape:
    """A shape that moves.

    Attributes:
        outline: float64 (N, 2), (x, y) from its middle, pixels.
        skin: float32 (H, W, 3), its pattern; it moves with the shape.
        start: (x, y) of its middle in the first frame.
        velocity: pixels a frame, (x, y).
        spin: radians a frame.
        growth: factor of its size, a frame.
        label: its label; 0 for a distractor.
    """

    outline: AnyArray
    skin: FloatArray
    start: AnyArray
    velocity: AnyArray
    spin: float
    growth: float
    label: int


def draw_clip(size: tuple[int, int], length: int, rng: random.Random) -> tuple[list[Image], list[LabelMap]]:
    """Draw a clip of one to three objects and at times a distractor.

    Args:
        size: (H, W), pixels.
        length: number of frames.
        rng: draws the shapes, their patterns and motions.
    Returns:
        Images, uint8 (H, W, 3) RGB, and their label maps, uint8 (H, W).
    """
    ground = _ground(size, rng)
    labels = [*range(1, rng.choice([1, 1, 2, 3]) + 1), *([0] if rng.random() < 0.3 else [])]
    alike = pattern(size, rng) if rng.random() < 0.2 else None
    shapes = [_shape(size, label, alike, rng) for label in labels]
    images, label_maps = [], []
    for number in range(length):
        image, label_map = ground.copy(), np.zeros(size, np.uint8)
        for shape in shapes:
            _draw(image, label_map, shape, number)
        images.append(image.round().clip(0, 255).astype(np.uint8))
        label_maps.append(label_map)
    return images, label_maps


def pattern(size: tuple[int, int], rng: random.Random) -> FloatArray:
    """Fill a plane with a colour, blocks, stripes or noise: float32 (H, W, 3)."""
    kind, noise = rng.choice(PATTERNS), np.random.default_rng(rng.randrange(2**32))
    colour, contrast = np.array([rng.uniform(0, 255) for _ in range(3)], np.float32), rng.uniform(8, 60)
    if kind == "stripes":
        rows = np.arange(size[0] if rng.random() < 0.5 else size[1]) // rng.randint(3, 24) % 2
        bars = np.broadcast_to(rows[:, None] if len(rows) == size[0] else rows[None], size)
        other = np.array([rng.uniform(0, 255) for _ in range(3)], np.float32)
        return np.asarray(np.where(bars[..., None] > 0, colour, other), np.float32)
    cell = {"flat": max(size), "noise": 1}.get(kind, rng.randint(3, 24))
    cells = noise.normal(0, contrast, (-(-size[0] // cell), -(-size[1] // cell), 1 if rng.random() < 0.7 else 3))
    plane = cells.repeat(cell, 0).repeat(cell, 1)[: size[0], : size[1]]
    return np.asarray(colour + plane, np.float32)


def _ground(size: tuple[int, int], rng: random.Random) -> FloatArray:
    """Fill the ground: mostly a gradient between two colours near each other, at times a pattern."""
    if rng.random() < 0.2:
        return pattern(size, rng)
    first = np.array([rng.uniform(0, 255) for _ in range(3)], np.float32)
    second = first + np.array([rng.gauss(0, 40) for _ in range(3)], np.float32) * rng.choice([0, 1])
    y, x = np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1])
    part = y[:, None] * np.ones(size) if rng.random() < 0.5 else x[None] * np.ones(size)
    return np.asarray(first + part[..., None] * (second - first), np.float32)


def _shape(size: tuple[int, int], label: int, skin: FloatArray | None, rng: random.Random) -> Shape:
    height, width = size
    radii = np.array([rng.uniform(0.05, 0.25) * height for _ in range(2)])
    kind = rng.choice(SHAPES)
    if kind == "rectangle":
        outline = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * radii
    else:
        count = 48 if kind == "ellipse" else rng.randint(3, 9)
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        lengths = np.array([1.0 if kind == "ellipse" else rng.uniform(0.5, 1.2) for _ in angles])
        outline = (lengths * np.array([np.cos(angles), np.sin(angles)])).T * radii
    moves, turns = rng.choice([0, 1, 1]), rng.choice([0, 0, 0, 1])
    return Shape(
        outline=outline,
        skin=pattern(size, rng) if skin is None else skin,
        start=np.array([rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.85) * height]),
        velocity=moves * np.array([rng.gauss(0, 0.015) * width, rng.gauss(0, 0.015) * height]),
        spin=turns * rng.gauss(0, 0.06),
        growth=1 + turns * rng.gauss(0, 0.02),
        label=label,
    )


def _draw(image: FloatArray, label_map: LabelMap, shape: Shape, number: int) -> None:
    """Draw a shape where it is in a frame, in place."""
    height, width = label_map.shape
    angle, scale = number * shape.spin, shape.growth**number
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    rotation = np.array([[cos, -sin], [sin, cos]])
    middle = shape.start + number * shape.velocity
    points = ((shape.outline @ rotation.T + middle) * 2**SUBPIXELS).round().astype(np.int32)
    cover = cv2.fillPoly(np.zeros(label_map.shape, np.uint8), [points], 255, cv2.LINE_AA, SUBPIXELS)
    shift = middle - rotation @ np.array([width / 2, height / 2])
    matrix = np.concatenate([rotation, shift[:, None]], 1).astype(np.float32)
    skin = cv2.warpAffine(shape.skin, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    image += cover[..., None] / np.float32(255) * (skin - image)
    label_map[cover > 127] = shape.label

"""Things that pass in front of the objects of a training clip: bars, posts with a sign, branches, foliage, blobs."""

from __future__ import annotations

import math
import random

import cv2
import numpy as np

from vos.plugin import AnyArray, FloatArray, Image, LabelMap

SHAPES = ("bar", "sign", "branches", "foliage", "blob")


def paste_occluder(images: list[Image], label_maps: list[LabelMap], texture: Image, rng: random.Random) -> None:
    """Paste an occluder over a clip, in place; its pixels are background.

    It crosses the first object in a random frame. It stands still in a third of the clips.

    Args:
        images: uint8 (H, W, 3), writable.
        label_maps: uint8 (H, W), writable.
        texture: uint8 (h, w, 3) of any size, what the occluder looks like.
        rng: draws the shape and the motion.
    """
    crossing = rng.randrange(max(1, 2 * len(images) // 3))
    seen = np.argwhere(label_maps[crossing])
    if not len(seen):
        return
    height, width = label_maps[0].shape
    side = math.sqrt(len(seen))
    y, x = seen[rng.randrange(len(seen))]
    speed = rng.choice([0.0, 1.0, 1.0]) * rng.choice([-1, 1]) * rng.uniform(0.01, 0.06) * width
    velocity = np.array([speed, rng.gauss(0, 0.1) * speed])
    alpha = draw_shape(rng.choice(SHAPES), side, (2 * height, 2 * width), rng)
    colours = _textured(texture, (2 * height, 2 * width), rng)
    for number, (image, label_map) in enumerate(zip(images, label_maps, strict=True)):
        shift = np.array([x, y]) - [width, height] + (number - crossing) * velocity
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        cover = cv2.warpAffine(alpha, matrix, (width, height), flags=cv2.INTER_LINEAR)
        over = cv2.warpAffine(colours, matrix, (width, height), flags=cv2.INTER_LINEAR)
        image[:] = (image + cover[..., None] * (over - image)).round().clip(0, 255).astype(np.uint8)
        label_map[cover > 0.5] = 0


def draw_shape(shape: str, side: float, size: tuple[int, int], rng: random.Random) -> FloatArray:
    """Draw an occluder around the middle of a plane.

    Args:
        shape: one of ``SHAPES``.
        side: of the object that is occluded, pixels; the occluder's thickness follows it.
        size: (H, W) of the plane.
        rng: draws the lengths and angles.
    Returns:
        float32 (H, W), alpha in 0..1.
    """
    plane = np.zeros(size, np.uint8)
    middle = np.array([size[1] / 2, size[0] / 2])
    thick = side * rng.uniform(0.08, 0.4)
    lean = math.radians(rng.gauss(0, 12) + (90 if rng.random() < 0.15 else 0))
    along = np.array([math.sin(lean), math.cos(lean)])
    top = middle - along * size[0] * (1.0 if rng.random() < 0.6 else rng.uniform(0.1, 0.5))
    if shape == "foliage":
        _line(plane, middle, middle + along * size[0], 0.5 * thick)
        _foliage(plane, middle, side * rng.uniform(0.4, 1.2), rng)
    elif shape == "blob":
        _fill(plane, _blob(middle, side * rng.uniform(0.25, 0.7), rng))
    elif shape == "branches":
        for _ in range(rng.randint(3, 8)):
            _branch(plane, middle + np.array([rng.gauss(0, side), 0]), thick * rng.uniform(0.15, 0.6), rng)
        _line(plane, top, middle + along * size[0], thick)
    else:
        _line(plane, top, middle + along * size[0], thick if shape == "bar" else 0.5 * thick)
    if shape == "sign":
        half = side * np.array([rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.5)])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half + middle
        _fill(plane, corners if rng.random() < 0.5 else _blob(middle, float(half.mean()), rng, rough=0.0))
    return np.asarray(cv2.GaussianBlur(plane.astype(np.float32), (0, 0), rng.uniform(0.6, 2.0)), np.float32)


def _fill(plane: Image, points: AnyArray) -> None:
    cv2.fillPoly(plane, [points.round().astype(np.int32)], 1)


def _line(plane: Image, begin: AnyArray, end: AnyArray, thick: float) -> None:
    first, last = (tuple(int(value) for value in point) for point in (begin, end))
    cv2.line(plane, first, last, 1, max(2, round(thick)))


def _branch(plane: Image, start: AnyArray, thick: float, rng: random.Random) -> None:
    """Draw a crooked line that gets thinner."""
    angle, point = rng.uniform(0, 2 * math.pi), start
    for _ in range(rng.randint(3, 7)):
        angle += rng.gauss(0, 0.5)
        following = point + thick * rng.uniform(3, 8) * np.array([math.cos(angle), math.sin(angle)])
        _line(plane, point, following, thick)
        point, thick = following, thick * rng.uniform(0.7, 1.0)


def _foliage(plane: Image, middle: AnyArray, radius: float, rng: random.Random) -> None:
    """Draw a crown of small leaves with gaps between them."""
    crown = np.zeros_like(plane)
    _fill(crown, _blob(middle, radius, rng))
    noise = np.random.default_rng(rng.randrange(2**32)).standard_normal(plane.shape, np.float32)
    leaves = cv2.GaussianBlur(noise, (0, 0), rng.uniform(1.2, 5.0))
    density = cv2.GaussianBlur(crown.astype(np.float32), (0, 0), 0.15 * radius + 1) * rng.uniform(0.35, 0.8)
    densest = density.max()
    least = np.quantile(leaves[::8, ::8], 1 - densest) + leaves.std() * (densest - density)
    plane[(crown > 0) & (leaves > least)] = 1


def _blob(middle: AnyArray, radius: float, rng: random.Random, rough: float = 0.3) -> AnyArray:
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    waves = sum(rng.gauss(0, rough) / n * np.sin(n * angles + rng.uniform(0, 6)) for n in (1, 2, 3, 5))
    return np.asarray(middle + (radius * (1 + waves) * np.array([np.cos(angles), np.sin(angles)])).T)


def _textured(texture: Image, size: tuple[int, int], rng: random.Random) -> FloatArray:
    """Enlarge a random part of an image to a plane, float32 (H, W, 3)."""
    height, width = texture.shape[:2]
    part = rng.choice([0.1, 0.3, 0.6, 1.0])
    h, w = max(8, int(height * part)), max(8, int(width * part))
    y, x = rng.randrange(max(1, height - h + 1)), rng.randrange(max(1, width - w + 1))
    values = cv2.resize(texture[y : y + h, x : x + w], size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return np.asarray(values * rng.uniform(0.4, 1.2), np.float32)

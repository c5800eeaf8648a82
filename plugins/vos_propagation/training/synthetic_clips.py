"""Short clips with exact masks: cut-outs that move, bend, turn and hide each other over a panning photograph.

Source: training on images made to move, as STM (Oh et al., arXiv:1904.00607) and STCN (Cheng et al.,
arXiv:2106.05210) pre-train on pairs; whole clips are drawn here, as drift is part of what the head must mend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from vos.plugin import AnyArray, FloatArray, Image, InputError, LabelMap

SIZE = (384, 512)
FRAMES = 13
# A rider and a horse are one object now and then; this is the side of the picture that they are put together on.
JOINED_SIDE = 460


@dataclass(frozen=True)
class Layer:
    """A cut-out and how it moves.

    Attributes:
        image: float32 (h, w, 4) in 0..255 and alpha in 0..1, colours multiplied by alpha.
        object_id: 0 if it is nobody's: a distractor or an occluder.
        centre: (x, y) pixels, before it moves.
        velocity: (x, y) pixels a frame.
        swing: (x, y) pixels, the amplitude of a slow oscillation.
        angle: radians at the first frame.
        spin: radians a frame.
        scale: of the image at the first frame.
        growth: of the scale's logarithm, a frame.
        turn: how much of its width it loses at most, as if it turned.
        waves: (n, 6), of the bending: wave numbers in x and y, speed, phase, amplitude in x and y.
    """

    image: FloatArray
    object_id: int
    centre: FloatArray
    velocity: FloatArray
    swing: FloatArray
    angle: float
    spin: float
    scale: float
    growth: float
    turn: float
    waves: FloatArray


def draw_clip(cutouts: Sequence[Path], photographs: Sequence[Path], seed: int) -> tuple[list[Image], list[LabelMap]]:
    """Draw a clip with one to three objects.

    Args:
        cutouts: images with an alpha channel.
        photographs: images, 380 px or more on the short side.
        seed: of everything that is left to chance.
    Returns:
        ``FRAMES`` images uint8 (384, 512, 3), RGB, and as many label maps.
    """
    rng = np.random.default_rng(seed)
    height, width = SIZE
    photograph = _read_photograph(photographs[int(rng.integers(len(photographs)))], rng)
    layers = _cast(cutouts, rng)
    zoom = max(height / photograph.shape[0], width / photograph.shape[1]) * rng.uniform(1.1, 2.0)
    pan, drift = rng.normal(0, 3, 2) * rng.choice([0.2, 1.0, 2.0]), rng.normal(0, 0.004)
    start = rng.uniform(0.2, 0.8, 2)
    shake = rng.normal(0, 1.0, (FRAMES + 1, 2)) * rng.choice([0, 1])
    blurred = rng.random() < 0.35
    light = rng.normal(0, 0.01)
    quality = int(rng.integers(60, 95))
    soft = rng.uniform(0.0, 0.9)
    follow = 1 if rng.random() < 0.6 else 0
    images: list[Image] = []
    label_maps: list[LabelMap] = []
    for t in range(FRAMES):
        moments = [t - 0.25, t, t + 0.25] if blurred else [t]
        exposed = np.zeros((height, width, 3), np.float32)
        label_map = np.zeros((height, width), np.uint8)
        for moment in moments:
            z = zoom * np.exp(drift * moment)
            shift = pan * moment + shake[t]
            corner = np.array([photograph.shape[1] * z - width, photograph.shape[0] * z - height]) * start
            matrix = np.array([[z, 0, -corner[0] + shift[0]], [0, z, -corner[1] + shift[1]]], np.float32)
            view = cv2.warpAffine(photograph, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
            canvas = view.astype(np.float32)
            owner = np.zeros((height, width), np.uint8)
            for layer in layers:
                warped = replace(layer, centre=layer.centre + follow * (pan * 0.5 * moment + shake[t]))
                drawn = _draw(warped, moment)
                canvas = canvas * (1 - drawn[..., 3:]) + drawn[..., :3]
                owner[drawn[..., 3] > 0.5] = layer.object_id
            exposed += canvas / len(moments)
            if moment == t:
                label_map = owner
        images.append(_photograph_again(exposed * np.exp(light * t), soft, quality, rng))
        label_maps.append(label_map)
    return images, label_maps


def _read_photograph(path: Path, rng: np.random.Generator) -> AnyArray:
    image = cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return np.asarray(image[:, ::-1] if rng.random() < 0.5 else image)


def _read(path: Path, flags: int) -> AnyArray:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise InputError(f"{path}: cannot be read as an image.")
    return np.asarray(image)


def _read_cutout(path: Path, rng: np.random.Generator) -> FloatArray:
    image = cv2.cvtColor(_read(path, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA).astype(np.float32)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    colour, alpha = image[..., :3], image[..., 3:] / 255
    if rng.random() < 0.5:
        colour = _recolour(colour, rng)
    return np.concatenate([colour * alpha, alpha], axis=-1)


def _recolour(colour: FloatArray, rng: np.random.Generator) -> FloatArray:
    grey = colour.mean(-1, keepdims=True)
    colour = grey + (colour - grey) * rng.uniform(0.2, 1.2)
    gain = rng.uniform(0.8, 1.2, 3) * rng.uniform(0.6, 1.15)
    return np.clip(255 * (np.clip(colour, 0, 255) / 255) ** rng.uniform(0.7, 1.5) * gain, 0, 255).astype(np.float32)


def _cast(cutouts: Sequence[Path], rng: np.random.Generator) -> list[Layer]:
    """Choose objects, and others that are nobody's, some of them twins of an object; back to front."""

    def any_cutout() -> FloatArray:
        return _read_cutout(cutouts[int(rng.integers(len(cutouts)))], rng)

    count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    layers = []
    for k in range(count):
        image = any_cutout()
        if rng.random() < 0.25:
            image = _join(image, any_cutout(), rng)
        side = None if count > 1 else np.exp(rng.uniform(np.log(60), np.log(360)))
        layers.append(_set_in_motion(image, k + 1, rng, side))
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.35, 0.3, 0.2, 0.15])):
        if rng.random() < 0.4:
            twin = layers[rng.integers(count)]
            side = max(twin.image.shape[:2]) * twin.scale * rng.uniform(0.7, 1.3)
            layers.append(_set_in_motion(twin.image, 0, rng, side))
        else:
            layers.append(_set_in_motion(any_cutout(), 0, rng, None))
    # NumPy's types before 2.3 know no lists of other things than numbers.
    rng.shuffle(cast(Any, layers))
    return layers


def _join(first: FloatArray, second: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Fasten two cut-outs together, the second above and before the first."""

    def fit(image: FloatArray, side: float) -> FloatArray:
        factor = side / max(image.shape[:2])
        height, width = (max(2, round(length * factor)) for length in image.shape[:2])
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)

    low, high = fit(first, 300), fit(second, rng.uniform(150, 260))
    canvas = np.zeros((JOINED_SIDE, JOINED_SIDE, 4), np.float32)
    y, x = (JOINED_SIDE - low.shape[0]) // 2 + 60, (JOINED_SIDE - low.shape[1]) // 2
    y = min(y, JOINED_SIDE - low.shape[0])
    canvas[y : y + low.shape[0], x : x + low.shape[1]] = low
    y = max(0, y - int(rng.integers(0, high.shape[0] // 2 + 1)))
    x = int(np.clip((JOINED_SIDE - high.shape[1]) // 2 + rng.integers(-60, 60), 0, JOINED_SIDE - high.shape[1]))
    part = canvas[y : y + high.shape[0], x : x + high.shape[1]]
    high = high[: part.shape[0], : part.shape[1]]
    part[:] = high + part * (1 - high[..., 3:])
    return canvas


def _set_in_motion(image: FloatArray, object_id: int, rng: np.random.Generator, side: float | None) -> Layer:
    height, width = SIZE
    side = side or np.exp(rng.uniform(np.log(50), np.log(300)))
    pace = rng.choice([0.3, 1.0, 2.0], p=[0.35, 0.45, 0.2])
    count = rng.integers(1, 4)
    amplitude = rng.choice([0.0, 0.02, 0.045], p=[0.2, 0.4, 0.4])
    waves = [
        rng.uniform(-1.5, 1.5, count),
        rng.uniform(-1.5, 1.5, count),
        rng.uniform(-0.5, 0.5, count),
        rng.uniform(0, 6.28, count),
        rng.normal(0, 1, count) * amplitude,
        rng.normal(0, 1, count) * amplitude,
    ]
    return Layer(
        image=image,
        object_id=object_id,
        centre=np.array([rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.85) * height]),
        velocity=rng.normal(0, 5, 2) * pace,
        swing=rng.normal(0, 8, 2) * pace,
        angle=rng.normal(0, 0.2),
        spin=rng.normal(0, 0.03) * pace,
        scale=side / max(image.shape[:2]),
        growth=rng.normal(0, 0.015),
        turn=rng.choice([0.0, rng.uniform(0, 0.5)]),
        waves=np.stack(waves, axis=1),
    )


def _draw(layer: Layer, t: float) -> FloatArray:
    """Draw a layer at a moment: float32 (H, W, 4), colours multiplied by alpha."""
    height, width = SIZE
    h, w = layer.image.shape[:2]
    scale = layer.scale * np.exp(layer.growth * t)
    centre = layer.centre + layer.velocity * (t - FRAMES / 3) + layer.swing * np.sin(t * 0.5)
    angle = layer.angle + layer.spin * t
    squash = 1 - layer.turn * (0.5 - 0.5 * np.cos(t * 0.35))
    half = int(0.75 * scale * np.hypot(h, w)) + 6
    x0, x1 = max(0, int(centre[0]) - half), min(width, int(centre[0]) + half)
    y0, y1 = max(0, int(centre[1]) - half), min(height, int(centre[1]) + half)
    drawn = np.zeros((height, width, 4), np.float32)
    if x1 <= x0 or y1 <= y0:
        return drawn
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    x, y = (x - centre[0]) / scale, (y - centre[1]) / scale
    c, s = np.cos(angle), np.sin(angle)
    u, v = (c * x + s * y) / squash, -s * x + c * y
    side = max(h, w)
    du, dv = np.zeros_like(u), np.zeros_like(v)
    for across, down, speed, phase, bend_x, bend_y in layer.waves:
        wave = np.sin(6.28 * (across * u + down * v) / side + speed * t + phase)
        du += bend_x * side * wave
        dv += bend_y * side * wave
    source = layer.image if scale >= 0.6 else cv2.GaussianBlur(layer.image, (0, 0), 0.25 / scale)
    columns, rows = (u + du + w / 2).astype(np.float32), (v + dv + h / 2).astype(np.float32)
    drawn[y0:y1, x0:x1] = cv2.remap(source, columns, rows, cv2.INTER_LINEAR)
    return drawn


def _photograph_again(light: FloatArray, soft: float, quality: int, rng: np.random.Generator) -> AnyArray:
    """Make a camera's image of it: soft, noisy, through JPEG."""
    image: AnyArray = np.clip(light, 0, 255)
    if soft > 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), soft))
    image = np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)

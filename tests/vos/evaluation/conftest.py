"""Golden data, and the plain form of the official procedure as an oracle."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Vectors of the official tools; ``VOS_GOLDEN=DIR`` takes another folder of the same files."""
    other = Path(os.environ["VOS_GOLDEN"]) / "davis_eval" if "VOS_GOLDEN" in os.environ else None
    return other if other is not None and other.is_dir() else TESTS / "data" / "davis_eval"


@pytest.fixture(scope="session")
def protocols() -> Path:
    """Vectors of newer protocols; ``VOS_GOLDEN=DIR`` takes ``DIR/protocols``."""
    other = Path(os.environ["VOS_GOLDEN"]) / "protocols" if "VOS_GOLDEN" in os.environ else None
    return other if other is not None and other.is_dir() else TESTS / "data" / "protocols"


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain_davis", TESTS / "benchmarks" / "plain_davis.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def blobs() -> Callable[..., np.ndarray]:
    return make_blobs


def make_blobs(seed: int, size: tuple[int, int] = (60, 90), objects: int = 3, frames: int = 6) -> np.ndarray:
    """uint8 (frames, H, W): ellipses that drift, with holes, some at the frame's edge."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    maps = np.zeros((frames, height, width), dtype=np.uint8)
    for object_id in range(1, objects + 1):
        centre, speed = rng.uniform(0, 1, 2) * size, rng.normal(0, 2, 2)
        radii = rng.uniform(4, 16, 2)
        for frame in range(frames):
            cy, cx = centre + frame * speed
            distance = ((y - cy) / radii[0]) ** 2 + ((x - cx) / radii[1]) ** 2
            maps[frame][(distance < 1) & (distance > rng.uniform(0, 0.2))] = object_id
    return maps

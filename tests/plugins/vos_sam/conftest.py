"""The tiny Segment Anything models of tests/data, and how to compare with recorded arrays."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vos_sam.checkpoint import build_sam
from vos_sam.model import SegmentAnything

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def tiny_state():
    with np.load(DATA / "sam_tiny" / "state_dict.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="session")
def tiny(tiny_state):
    return SegmentAnything(build_sam(tiny_state, "sam_tiny"))


@pytest.fixture(scope="session")
def shapes_checkpoint():
    return DATA / "sam_shapes" / "sam_shapes.pth"


@pytest.fixture(scope="session")
def pictures():
    folder = DATA / "persam"
    return {
        "duck": np.array(Image.open(folder / "image_1.png")),
        "judo": np.array(Image.open(folder / "frame_0.png")),
    }


@pytest.fixture(scope="session")
def reference():
    return dict(np.load(DATA / "sam_tiny" / "reference_predictions.npz"))


@pytest.fixture(scope="session")
def mobile():
    """Names and shapes of MobileSAM's checkpoint filled from a seed, and its official encoder's output."""
    spec = importlib.util.spec_from_file_location("mobile_state", ROOT / "tests" / "tools" / "mobile_state.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shapes = json.loads((DATA / "mobile_sam" / "shapes.json").read_text())
    with np.load(DATA / "mobile_sam" / "features.npz") as arrays:
        return module.seeded_state(shapes), arrays["features_sub"]

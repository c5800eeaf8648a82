"""The tiny Segment Anything models of tests/data, and recorded outputs of the official package.

``VOS_GOLDEN`` names a folder with other recordings: ``sam_tiny/state_dict.npz`` and
``sam_tiny/reference_predictions.npz``.
"""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vos_sam.checkpoint import build_sam
from vos_sam.model import SegmentAnything

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
GOLDEN = Path(os.environ.get("VOS_GOLDEN", DATA)) / "sam_tiny"
PICTURE_FILES = {"duck": "image_1.png", "judo": "frame_0.png"}
"""Where tests/data keeps the pictures that its recording names without their pixels."""


@pytest.fixture(scope="session")
def tiny_state():
    with np.load(GOLDEN / "state_dict.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="session")
def tiny(tiny_state):
    return SegmentAnything(build_sam(tiny_state, "sam_tiny"))


@pytest.fixture(scope="session")
def shapes_checkpoint():
    return DATA / "sam_shapes" / "sam_shapes.pth"


def recording():
    """Recorded arrays by name; each picture's are named PICTURE/..., its pixels PICTURE/image."""
    arrays = dict(np.load(GOLDEN / "reference_predictions.npz"))
    for name in {key.split("/")[0] for key in arrays}:
        if f"{name}/image" not in arrays:
            arrays[f"{name}/image"] = np.array(Image.open(DATA / "persam" / PICTURE_FILES[name]))
    return arrays


def pytest_generate_tests(metafunc):
    """Run a test with the argument ``picture`` on each recorded picture."""
    if "picture" in metafunc.fixturenames:
        names = np.load(GOLDEN / "reference_predictions.npz").files
        metafunc.parametrize("picture", sorted({name.split("/")[0] for name in names}))


@pytest.fixture(scope="session")
def reference():
    return recording()


@pytest.fixture(scope="session")
def check():
    """Compare an array with a recording that holds it whole or every fourth row and column of it."""

    def compare(reference, name, ours, **tolerance):
        ours = np.asarray(ours)
        found = [key for key in (name, f"{name}_sub4") if key in reference]
        assert found, f"nothing recorded for {name}"
        for key in found:
            part = ours if key == name else ours[..., ::4, ::4]
            np.testing.assert_allclose(part, reference[key].reshape(part.shape), err_msg=key, **tolerance)

    return compare


@pytest.fixture(scope="session")
def mobile():
    """Names and shapes of MobileSAM's checkpoint filled from a seed, and its official encoder's output."""
    spec = importlib.util.spec_from_file_location("mobile_state", ROOT / "tests" / "tools" / "mobile_state.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shapes = json.loads((DATA / "mobile_sam" / "shapes.json").read_text())
    with np.load(DATA / "mobile_sam" / "features.npz") as arrays:
        return module.seeded_state(shapes), arrays["features_sub"]

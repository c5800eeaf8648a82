"""PerSAM's recorded intermediates, and the tiny models that they were recorded with.

``VOS_GOLDEN`` names a folder with the full recordings (``persam_video.npz`` and so on) to check instead of the thinned
copies in tests/data; pictures are always read from there.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vos import Frame
from vos_sam.checkpoint import build_sam, load_sam
from vos_sam.model import SegmentAnything

DATA = Path(__file__).parents[2] / "data"
TOLERANCES = {
    "low_res_logits": {"atol": 2e-3, "rtol": 1e-3},
    "mask_input": {"atol": 2e-3, "rtol": 1e-3},
    "train_low_res_logits": {"atol": 2e-3, "rtol": 1e-3},
    "scores": {"atol": 1e-4},
}


class Golden:
    """One recording: arrays by name, compared where they are stored, whole or thinned."""

    def __init__(self, name):
        folder = Path(os.environ.get("VOS_GOLDEN", DATA / "persam"))
        self.arrays = dict(np.load(folder / f"{name}.npz"))
        self.read = set()

    def unread(self, prefix=""):
        """Names that no check has asked for: there should be none."""
        return sorted(n for n in self.arrays if n.startswith(prefix) and n not in self.read)

    def __getitem__(self, name):
        self.read.add(name)
        return self.arrays[name]

    def __contains__(self, name):
        return name in self.arrays

    def find(self, name):
        """What is stored under a name, whole or thinned, or None."""
        return self.arrays.get(name, self.arrays.get(f"{name}_sub4"))

    def check(self, name, ours):
        """Compare with what is stored under a name; returns False if nothing is."""
        ours = np.asarray(ours)
        kind = name.rsplit("/", 1)[-1]
        tolerance = TOLERANCES.get(kind, {"atol": 2e-5})
        if name in self.arrays:
            stored = self[name]
        elif f"{name}_sub4" in self.arrays:
            stored, ours = self[f"{name}_sub4"], ours[..., ::4, ::4]
        else:
            return False
        if stored.shape != ours.shape and stored.shape[-2:] != ours.shape[-2:]:
            ours = ours[..., : stored.shape[-2], : stored.shape[-1]]  # stored without the padding
        np.testing.assert_allclose(ours.reshape(stored.shape), stored, err_msg=name, **{"rtol": 0, **tolerance})
        return True


@pytest.fixture(scope="session")
def golden():
    return Golden


@pytest.fixture(scope="session")
def tiny():
    with np.load(DATA / "sam_tiny" / "state_dict.npz") as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return SegmentAnything(build_sam(state, "sam_tiny"))


@pytest.fixture(scope="session")
def images():
    return [np.array(Image.open(DATA / "persam" / f"image_{index}.png")) for index in range(3)]


@pytest.fixture(scope="session")
def frames():
    return [
        Frame(index, np.array(Image.open(DATA / "persam" / f"frame_{index}.png")), f"{index:05d}") for index in range(6)
    ]


@pytest.fixture(scope="session")
def embeddings(tiny, frames):
    return [tiny.encode([frame.image])[0] for frame in frames]


@pytest.fixture(scope="session")
def shapes_checkpoint():
    return DATA / "sam_shapes" / "sam_shapes.pth"


@pytest.fixture(scope="session")
def shapes(shapes_checkpoint):
    """The tiny model that truly segments drawn shapes."""
    return SegmentAnything(load_sam(shapes_checkpoint))

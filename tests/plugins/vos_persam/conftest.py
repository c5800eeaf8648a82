"""PerSAM's recorded intermediates, and the tiny models that they were recorded with.

``VOS_GOLDEN`` names a folder with other recordings to check (``persam_video.npz`` and so on, with their pictures, and
``sam_tiny/state_dict.npz``) instead of the thinned copies in tests/data, whose pictures are PNG files.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vos import Frame
from vos_sam.checkpoint import build_sam, load_sam
from vos_sam.model import SegmentAnything

DATA = Path(__file__).parents[2] / "data"
GOLDEN = Path(os.environ.get("VOS_GOLDEN", DATA / "persam"))
TINY = Path(os.environ.get("VOS_GOLDEN", DATA)) / "sam_tiny" / "state_dict.npz"
TOLERANCES = {
    "low_res_logits": {"atol": 2e-3, "rtol": 1e-3},
    "mask_input": {"atol": 2e-3, "rtol": 1e-3},
    "train_low_res_logits": {"atol": 2e-3, "rtol": 1e-3},
    "scores": {"atol": 1e-4},
}


class Golden:
    """One recording: arrays by name, compared where they are stored, whole or thinned."""

    def __init__(self, name):
        self.arrays = dict(np.load(GOLDEN / f"{name}.npz"))
        self.read = set()

    def numbers(self, pattern):
        """The numbers N of all names that begin with a pattern such as ``asis/frame{}/``, rising."""
        before, after = pattern.split("{}")
        found = (re.match(rf"{re.escape(before)}(\d+){re.escape(after)}", name) for name in self.arrays)
        return sorted({int(match[1]) for match in found if match})

    def unread(self, prefix=""):
        """Names that no check has asked for: there should be none."""
        return sorted(n for n in self.arrays if n.startswith(prefix) and n not in self.read)

    def __getitem__(self, name):
        self.read.add(name)
        return self.arrays[name]

    def __contains__(self, name):
        return name in self.arrays

    def find(self, name):
        """The array stored under a name, whole or subsampled; None if there is none."""
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
    with np.load(TINY) as arrays:
        state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return SegmentAnything(build_sam(state, "sam_tiny"))


def pictures(name, prefix):
    """The recorded pictures: arrays of a recording, or files of tests/data."""
    arrays = Golden(name).arrays
    if "frames" in arrays and prefix == "frame":
        return list(arrays["frames"])
    stored = Golden(name).numbers(f"{prefix}_{{}}")
    if stored:
        return [arrays[f"{prefix}_{index}"] for index in stored]
    files = sorted((DATA / "persam").glob(f"{prefix}_*.png"), key=lambda path: int(path.stem.split("_")[1]))
    return [np.array(Image.open(path)) for path in files]


@pytest.fixture(scope="session")
def images():
    return pictures("persam_image", "image")


@pytest.fixture(scope="session")
def frames():
    return [Frame(index, image, f"{index:05d}") for index, image in enumerate(pictures("persam_video", "frame"))]


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

"""The example clip is what its script makes, and small enough to ship."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import vos
from vos.example_clip import CLIP, FIRST_MASK, MASKS, score

SCRIPT = Path(__file__).parents[2] / "examples" / "make_clip.py"


@pytest.fixture(scope="module")
def make_clip():
    spec = importlib.util.spec_from_file_location("make_clip", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_clip"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", [0, 30, 71])
def test_masks_and_frames_are_those_of_the_script(make_clip, number):
    picture, label_map = make_clip.compose(number, make_clip.coffee_cup(), make_clip.shuttle())
    assert (vos.read_label_map(MASKS / f"{number:05d}.png") != label_map).sum() <= 4
    frame = next(vos.open_source(CLIP).frames(range(number, number + 1)))
    assert np.abs(frame.image.astype(int) - picture).mean() < 4


def test_the_clip_has_two_objects_that_cross_and_is_small():
    names = sorted(MASKS.glob("*.png"))
    assert len(names) == 72
    assert all(vos.object_ids(vos.read_label_map(path)) == (1, 2) for path in names)
    assert sum(path.stat().st_size for path in [CLIP, *names]) < 2**20
    areas = [(vos.read_label_map(path) == 1).sum() for path in names]
    assert min(areas[30:50]) < 0.85 * max(areas[30:50]), "the shuttle hides a part of the cup"


def test_the_exact_masks_score_one_and_the_first_mask_alone_does_not(tmp_path):
    assert score(MASKS).j_and_f == 1
    for path in MASKS.glob("*.png"):
        (tmp_path / path.name).write_bytes(FIRST_MASK.read_bytes())
    assert score(tmp_path).j_and_f < 0.3

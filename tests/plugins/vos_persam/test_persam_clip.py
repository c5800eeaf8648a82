"""The example clip, end to end, as a user would: files in, files out, scores.

The tiny model was trained on drawn shapes alone; the clip shows a photographed cup and a photographed shuttle. It
reaches J 0.76 (persam) and 0.72 (persam-f) on the cup, and 0.21 and 0.25 on the shuttle, whose parts it takes for
objects of their own. Real weights are needed for more.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import vos
from vos.evaluation import score_sequence
from vos.plugin import OutputExistsError

ROOT = Path(__file__).parents[3]
CLIP, MASKS = ROOT / "examples" / "clip" / "clip.mp4", ROOT / "examples" / "clip" / "masks"
CHECKPOINT = Path(__file__).parents[2] / "data" / "sam_shapes" / "sam_shapes.pth"


@pytest.mark.parametrize("tracker", ["persam", "persam-f"])
def test_the_example_clip(tmp_path, tracker):
    summary = vos.track(
        CLIP,
        MASKS / "00000.png",
        tracker=tracker,
        options={"checkpoint": CHECKPOINT},
        output=tmp_path,
        runtime=vos.Runtime(device="cpu"),
        plugins=vos.load_plugins(["vos_sources", "vos_writers", "vos_persam"]),
    )
    assert summary.frames == len(list(MASKS.glob("*.png")))
    assert summary.object_ids == (1, 2)
    names = sorted(path.name for path in MASKS.glob("*.png"))
    exact = (vos.read_label_map(MASKS / name) for name in names)
    ours = (vos.read_label_map(tmp_path / "clip" / name, allow_empty=True) for name in names)
    cup, shuttle = score_sequence(exact, ours, name="clip").objects
    assert np.mean(cup.j) > 0.65
    assert np.mean(shuttle.j) > 0.1


def test_the_same_run_gives_the_same_masks(tmp_path):
    runs = [
        list(
            vos.stream(
                CLIP,
                MASKS / "00000.png",
                tracker="persam",
                options={"checkpoint": str(CHECKPOINT)},
                runtime=vos.Runtime(device="cpu"),
                plugins=vos.load_plugins(["vos_sources", "vos_persam"]),
                stop=5,
            )
        )
        for _ in range(2)
    ]
    for (_, first), (_, second) in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("options", [{}, {"compat": True}])
def test_resume_takes_no_other_model_in_the_same_file(tmp_path, options):
    checkpoint = tmp_path / "sam.pth"
    shutil.copy(CHECKPOINT, checkpoint)

    def track():
        return vos.track(
            CLIP,
            MASKS / "00000.png",
            tracker="persam",
            options={"checkpoint": checkpoint, **options},
            output=tmp_path / "out",
            runtime=vos.Runtime(device="cpu"),
            plugins=vos.load_plugins(["vos_sources", "vos_writers", "vos_persam"]),
            stop=2,
            resume=True,
        )

    assert not track().skipped
    record = json.loads((tmp_path / "out" / "clip" / "run.json").read_text())
    assert record["details"] == {
        "checkpoint": "sam.pth",
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }
    assert track().skipped
    state = torch.load(checkpoint, weights_only=True)
    state["mask_decoder.iou_token.weight"] += 1
    torch.save(state, checkpoint)
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "clip").iterdir()}
    with pytest.raises(OutputExistsError, match="holds a run with another sha256 in its details"):
        track()
    assert {path: path.read_bytes() for path in (tmp_path / "out" / "clip").iterdir()} == before

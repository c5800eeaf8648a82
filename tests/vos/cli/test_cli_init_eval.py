"""``vos init-eval`` as a user types it, with an initializer loaded by -p."""

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from vos.cli import main

PLUGIN = '''
from dataclasses import dataclass
import numpy as np
from vos.plugin import InitializerSpec, hookimpl, option


@dataclass(frozen=True)
class Options:
    text: str = option("", "What to find.")


class Levels:
    """Grey level 40 * k becomes id k, or the phrase's number if the text has so many phrases."""

    def __init__(self, options):
        self.phrases = [p for p in options.text.split(";") if p]

    def initialize(self, frame):
        ids = frame.image[..., 0] // 40
        return np.where(ids <= len(self.phrases), ids, 0).astype(np.uint8) if self.phrases else ids


@hookimpl
def vos_initializers():
    make = lambda options, runtime: Levels(options)
    return [
        InitializerSpec("levels", "Levels.", make, Options),
        InitializerSpec("level-segments", "Levels.", make, Options, segments=True),
    ]
'''


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Two images of three levels; the second's labels have one of four rows wrong."""
    (tmp_path / "level_things.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    levels = np.repeat([[0, 1, 2, 2]], 4, axis=0).repeat(2, axis=1).astype(np.uint8)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.repeat(levels[..., None] * 40, 3, axis=2)).save(tmp_path / "images" / f"{name}.png")
    Image.fromarray(levels).save(tmp_path / "labels" / "a.png")
    wrong = levels.copy()
    wrong[0] = 1
    Image.fromarray(wrong).save(tmp_path / "labels" / "b.png")

    def invoke(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["-p", "level_things", "init-eval", *arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    yield invoke
    sys.modules.pop("level_things", None)


FOLDERS = ["images", "--labels", "labels", "--classes", "3"]


def test_segments_are_matched_to_classes(run, tmp_path):
    code, out, err = run(*FOLDERS, "--with", "level-segments", "--per-class", "--json", "new/scores.json")
    assert (code, err) == (0, "")
    right, pixels = 32 + 24 + 2, 64
    assert out.startswith(f"level-segments, folders, hungarian: 2 images, pixel accuracy {right / pixels * 100:.1f}, ")
    scores = json.loads((tmp_path / "new/scores.json").read_text())
    assert scores["pixel_accuracy"] == pytest.approx(right / pixels)
    ious = [14 / 16, 16 / 22, 28 / 32]
    assert list(scores["iou"].values()) == pytest.approx(ious)
    assert scores["mean_iou"] == pytest.approx(np.mean(ious))
    assert [float(line.split()[-1]) for line in out.splitlines()[1:]] == pytest.approx(
        [100 * i for i in ious], abs=0.05
    )


def test_matching_does_not_ask_what_ids_mean_and_semantic_does(run, tmp_path):
    assert ", pixel accuracy 100.0, mean IoU 100.0\n" in run(*FOLDERS, "--with", "level-segments", "--limit", "1")[1]
    # id k is class k - 1 where no class is background: levels 1 and 2 are taken for classes 0 and 1
    out = run(*FOLDERS, "--with", "levels", "--protocol", "semantic", "--limit", "1")[1]
    assert ", pixel accuracy 0.0, mean IoU 0.0\n" in out


def test_a_layouts_class_names_are_the_text(run, tmp_path):
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (tmp_path / "images" / "a.png").rename(root / "JPEGImages" / "a.png")
    (tmp_path / "labels" / "a.png").rename(root / "SegmentationClass" / "a.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    arguments = ["voc", "--layout", "voc", "--with", "levels", "--protocol", "semantic", "--json", "scores.json"]
    assert ", pixel accuracy 100.0, mean IoU 100.0\n" in run(*arguments)[1]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["options"]["text"].startswith("aeroplane; bicycle; ")
    assert scores["options"]["text"].count(";") == 19
    assert scores["iou"]["bicycle"] == 1
    assert scores["iou"]["dog"] is None
    # one phrase: level 2 is taken for the background
    assert ", pixel accuracy 50.0, " in run(*arguments, "--overwrite", "-O", "text=aeroplane")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["images", "--with", "levels"], "say where the labels are: --layout NAME, or --labels FOLDER"),
        ([*FOLDERS, "--with", "levels", "--layout", "voc"], "--layout knows its labels and classes"),
        ([*FOLDERS, "--with", "level-segments", "--protocol", "semantic"], "level-segments names no classes"),
        ([*FOLDERS, "--with", "levels", "--true-clusters"], "Levels takes no number of clusters"),
        ([*FOLDERS, "--with", "level"], 'no initializer named "level"'),
        (["nowhere", "--labels", "labels", "--classes", "3", "--with", "levels"], "nowhere: no such folder"),
        (["images", "--layout", "voc", "--with", "levels"], "no folder JPEGImages in it"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err)

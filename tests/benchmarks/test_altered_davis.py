from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import vos
from vos.io.masks.mask_file import encode_label_map

sys.path.insert(0, str(Path(__file__).parent))
import altered_davis

FRAMES, SIDE = 6, 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of one sequence: a bright square that goes right, alone on a dark ground."""
    root = tmp_path / "davis"
    images, masks = (root / kind / "480p/square" for kind in ("JPEGImages", "Annotations"))
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number in range(FRAMES):
        label_map = np.zeros((80, 120), np.uint8)
        label_map[30 : 30 + SIDE, 20 + 4 * number : 20 + 4 * number + SIDE] = 1
        cv2.imwrite(str(images / f"{number:05d}.jpg"), np.repeat(200 * label_map[..., None], 3, axis=2))
        (masks / f"{number:05d}.png").write_bytes(encode_label_map(label_map))
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("square\n")
    return root


def altered(tree: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, vos.LabelMap]]:
    out = tree.parent / way
    monkeypatch.setattr(sys, "argv", ["altered_davis.py", way, "--davis", str(tree), "--out", str(out)])
    altered_davis.main()
    assert (out / "ImageSets/2017/val.txt").read_text() == "square\n"
    images = sorted((out / "JPEGImages/480p/square").iterdir())
    masks = sorted((out / "Annotations/480p/square").iterdir())
    assert [path.stem for path in images] == [path.stem for path in masks] == [f"{i:05d}" for i in range(len(images))]
    return [
        (cv2.imread(str(image), cv2.IMREAD_GRAYSCALE), vos.read_label_map(mask))
        for image, mask in zip(images, masks, strict=True)
    ]


@pytest.mark.parametrize("way", list(altered_davis.WAYS))
def test_masks_still_lie_on_their_objects(tree, way, monkeypatch):
    for image, label_map in altered(tree, way, monkeypatch):
        assert image.shape == label_map.shape == (80, 120)
        bright = image > image.max() // 2
        assert (bright == (label_map == 1)).mean() > 0.97
        assert label_map.any()


@pytest.mark.parametrize(
    ("way", "lefts"),
    [
        ("mirrored", [120 - SIDE - 20 - 4 * number for number in range(FRAMES)]),
        ("later", [28, 32, 36, 40]),
        ("backward", [40, 36, 32, 28, 24, 20]),
        ("blurred", [20, 24, 28, 32, 36, 40]),
        ("darker", [20, 24, 28, 32, 36, 40]),
    ],
)
def test_objects_are_where_they_should_be(tree, way, lefts, monkeypatch):
    assert [int(np.nonzero(mask)[1].min()) for _, mask in altered(tree, way, monkeypatch)] == lefts


def test_objects_are_larger_when_seen_closer_and_begin_in_the_middle(tree, monkeypatch):
    (_, first), *_ = altered(tree, "closer", monkeypatch)

    assert first.sum() == pytest.approx(SIDE**2 / altered_davis.CLOSER**2, rel=0.05)
    assert np.nonzero(first)[0].mean() == pytest.approx(39.5, abs=2)


@pytest.mark.parametrize("fault", ["no tree", "folder that exists"])
def test_bad_input_is_refused_in_a_line_and_nothing_is_written(
    fault: str, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    davis, out = tree, tree.parent / "out"
    if fault == "no tree":
        davis = tree.parent / "absent"
    else:
        out.mkdir()
    monkeypatch.setattr(sys, "argv", ["altered_davis.py", "mirrored", "--davis", str(davis), "--out", str(out)])
    with pytest.raises(SystemExit) as stopped:
        altered_davis.main()
    assert stopped.value.code == 2
    named = "absent/ImageSets/2017/val.txt: no such file" if fault == "no tree" else "out: exists"
    assert named in capsys.readouterr().err
    assert not list(out.glob("*"))

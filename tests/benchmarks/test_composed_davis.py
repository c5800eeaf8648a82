from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import vos
from vos.io.masks.mask_file import encode_label_map

sys.path.insert(0, str(Path(__file__).parent))
import composed_davis

COLOURS = {"blue": (250, 30, 30), "green": (30, 250, 30), "red": (30, 30, 250)}
SIZE = (240, 420)


def write(root: Path, names: list[str], frames: int = 6) -> Path:
    """Write a tree: in each sequence a square of its colour goes right on a dark ground."""
    for name in names:
        images, masks = (root / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for number in range(frames):
            label_map = np.zeros(SIZE, np.uint8)
            label_map[80:140, 150 + 4 * number : 210 + 4 * number] = 1
            image = np.full((*SIZE, 3), 15, np.uint8)
            image[label_map == 1] = COLOURS[name]
            cv2.imwrite(str(images / f"{number:05d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
            (masks / f"{number:05d}.png").write_bytes(encode_label_map(label_map))
    (root / "ImageSets/2016").mkdir(parents=True)
    (root / "ImageSets/2016/val.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "davis", [*COLOURS])


def run(monkeypatch: pytest.MonkeyPatch, tree: Path, kind: str, out: Path, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", ["composed_davis.py", kind, "--davis", str(tree), "--out", str(out), *more])
    composed_davis.main()


def composites(out: Path) -> dict[str, list[tuple[np.ndarray, vos.LabelMap]]]:
    names = (out / "ImageSets/2017/val.txt").read_text().split()
    return {
        name: [
            (cv2.imread(str(path)), vos.read_label_map(out / "Annotations/480p" / name / f"{path.stem}.png"))
            for path in sorted((out / "JPEGImages/480p" / name).iterdir())
        ]
        for name in names
    }


@pytest.mark.parametrize("kind", list(composed_davis.KINDS))
def test_labels_lie_on_the_objects_that_are_seen(tree, tmp_path, monkeypatch, kind):
    run(monkeypatch, tree, kind, tmp_path / "out", "--count", "3")
    made = composites(tmp_path / "out")
    assert list(made) == [f"composite-{kind}-{i}" for i in range(3)]
    for frames in made.values():
        assert len(frames) == 6
        assert vos.object_ids(frames[0][1]) == (1, 2, 3)
        for image, label_map in frames:
            colours = {}
            for object_id in vos.object_ids(label_map):
                inside = cv2.erode((label_map == object_id).astype(np.uint8), np.ones((5, 5), np.uint8)) == 1
                if inside.any():
                    assert image[inside].max(1).min() > 200, "bright: no dark ground inside a label"
                    colours[object_id] = int(np.median(image[inside], axis=0).argmax())
            outside = cv2.dilate((label_map > 0).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
            assert image[outside].max() < 60, "nothing bright without a label"
            if {2, 3} <= set(colours):
                assert (colours[2] == colours[3]) == composed_davis.KINDS[kind].twins


def test_crossing_twins_move_along_a_line():
    kind = replace(composed_davis.KINDS["crossing"], ways=(5, 10))
    steps = np.diff(composed_davis._places(kind, 854, 480, np.random.default_rng(1)), axis=0)
    np.testing.assert_allclose(steps, steps[:1].repeat(len(steps), 0))


def test_crossing_twins_go_the_opposite_way(tree):
    sequences = [composed_davis.Sequence(tree, name) for name in COLOURS]
    _, (one, other) = composed_davis._any(sequences, composed_davis.KINDS["crossing"], np.random.default_rng(1))
    assert one.sequence is other.sequence
    np.testing.assert_array_equal(one.places, other.places[::-1])


def test_objects_are_as_large_and_move_as_far_as_their_kind_says(tree, tmp_path, monkeypatch):
    for kind in ("plain", "hard"):
        run(monkeypatch, tree, kind, tmp_path / kind, "--count", "4", "--seed", "3")
        smallest, largest = composed_davis.KINDS[kind].sides
        for frames in composites(tmp_path / kind).values():
            for object_id in (2, 3):
                side = float((frames[0][1] == object_id).sum()) ** 0.5 * 480 / SIZE[0]
                assert 0.8 * smallest < side < 1.05 * min(largest, 120), "cut-outs are never enlarged"


def test_the_same_seed_gives_the_same_composites_and_another_others(tree, tmp_path, monkeypatch):
    for out, seed in (("one", "1"), ("again", "1"), ("other", "2")):
        run(monkeypatch, tree, "plain", tmp_path / out, "--count", "1", "--seed", seed)
    one, again, other = (composites(tmp_path / out)["composite-plain-0"] for out in ("one", "again", "other"))
    assert all((a[1] == b[1]).all() and (a[0] == b[0]).all() for a, b in zip(one, again, strict=True))
    assert any((a[1] != b[1]).any() for a, b in zip(one, other, strict=True))


def test_bad_input_is_told_in_a_line(tree, tmp_path, monkeypatch, capsys):
    few = write(tmp_path / "few", ["red", "blue"])
    for root, out, message in (
        (tmp_path / "none", tmp_path / "out", "no such file"),
        (few, tmp_path / "out", "has 2 sequences, 3 or more are needed"),
        (tree, tree, "exists. Name a new folder."),
    ):
        with pytest.raises(SystemExit) as stop:
            run(monkeypatch, root, "plain", out)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

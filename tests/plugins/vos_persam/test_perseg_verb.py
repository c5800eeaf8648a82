"""PerSeg's table on two drawn categories of two images."""

import cv2
import numpy as np
from click.testing import CliRunner
from PIL import Image

import vos
from vos.evaluation.images.perseg import evaluate_perseg, mean_over_categories
from vos_persam.perseg import command, grow


def test_masks_are_grown_and_shrunk_by_pixels():
    mask = np.zeros((20, 20), np.uint8)
    mask[8:13, 8:13] = 1
    assert grow(mask, 0) is mask
    assert grow(mask, -2).sum() == 1
    assert grow(grow(mask, 2), -2).sum() >= 25
    assert grow(mask, 1).sum() == 25 + 20, "a disc of one pixel is a cross"


def test_a_row_for_each_change_of_the_reference(tmp_path, shapes_checkpoint):
    for name in ("00", "01"):
        label_map = np.zeros((120, 160), np.uint8)
        cv2.circle(label_map, (45, 50) if name == "00" else (110, 60), 24, 1, -1)
        image = np.where(label_map[..., None] > 0, np.uint8([214, 48, 44]), np.uint8([105, 112, 104]))
        for folder in ("Images", "Annotations"):
            (tmp_path / folder / "disc").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "Images" / "disc" / f"{name}.jpg")
        vos.write_label_map(tmp_path / "Annotations" / "disc" / f"{name}.png", label_map)
    words = [str(tmp_path), "-o", str(tmp_path / "out"), "--grow", "0", "--grow", "-6", "--device", "cpu"]
    words += ["--checkpoint", str(shapes_checkpoint)]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    rows = [line.split() for line in result.output.splitlines()]
    assert rows[0] == ["grow", "images", "mIoU", "bIoU"]
    assert [row[:2] for row in rows[1:]] == [["+0", "1"], ["-6", "1"]]
    for row in rows[1:]:
        mean = mean_over_categories(evaluate_perseg(tmp_path, tmp_path / "out" / f"grow{row[0]}"))
        assert row[2] == f"{100 * mean.iou:.1f}"
        assert float(row[2]) > 60

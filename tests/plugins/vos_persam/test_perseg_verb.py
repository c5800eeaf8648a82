"""PerSeg's table on two drawn categories of two images."""

import shutil

import cv2
import numpy as np
import pytest
import torch
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


@pytest.fixture
def perseg(tmp_path):
    """PerSeg's folders with one category of a reference and another image."""
    for name in ("00", "01"):
        label_map = np.zeros((120, 160), np.uint8)
        cv2.circle(label_map, (45, 50) if name == "00" else (110, 60), 24, 1, -1)
        image = np.where(label_map[..., None] > 0, np.uint8([214, 48, 44]), np.uint8([105, 112, 104]))
        for folder in ("Images", "Annotations"):
            (tmp_path / folder / "disc").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "Images" / "disc" / f"{name}.jpg")
        vos.write_label_map(tmp_path / "Annotations" / "disc" / f"{name}.png", label_map)
    return tmp_path


def words_for(root, checkpoint, *more):
    return [str(root), "-o", str(root / "out"), "--device", "cpu", "--checkpoint", str(checkpoint), *more]


def test_a_row_for_each_change_of_the_reference(perseg, shapes_checkpoint):
    words = words_for(perseg, shapes_checkpoint, "--grow", "0", "--grow", "-6")
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    rows = [line.split() for line in result.output.splitlines()]
    assert rows[0] == ["grow", "images", "mIoU", "bIoU"]
    assert [row[:2] for row in rows[1:]] == [["+0", "1"], ["-6", "1"]]
    for row in rows[1:]:
        mean = mean_over_categories(evaluate_perseg(perseg, perseg / "out" / f"grow{row[0]}"))
        assert row[2] == f"{100 * mean.iou:.1f}"
        assert float(row[2]) > 60


@pytest.fixture
def masks(perseg, shapes_checkpoint):
    """The folder of the masks that PerSAM made of the category."""
    assert CliRunner().invoke(command, words_for(perseg, shapes_checkpoint), catch_exceptions=False).exit_code == 0
    return perseg / "out" / "grow+0" / "disc"


def refusal(words):
    """The message that refuses a run, which prints no score."""
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, vos.VosError), result.output
    assert result.exception.exit_code == 2
    assert result.output == ""
    return str(result.exception)


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (("--f",), "another method (PerSAM, now PerSAM-F)"),
        (("--precision", "bf16"), "another precision (fp32, now bf16)"),
        (("--seed", "5"), "another seed (0, now 5)"),
        (("--grow", "2", "--grow", "0", "--f"), "another method (PerSAM, now PerSAM-F)"),
    ],
)
def test_masks_of_other_settings_are_not_scored_as_these(perseg, masks, shapes_checkpoint, more, difference):
    message = refusal(words_for(perseg, shapes_checkpoint, *more))
    assert message.startswith(f"{masks}: holds masks of {difference}. Give another folder with -o")
    assert [path.name for path in (perseg / "out").iterdir()] == ["grow+0"], "refused before anything is made"


def test_an_output_that_is_no_folder_is_refused_before_the_work(perseg, shapes_checkpoint, monkeypatch):
    monkeypatch.chdir(perseg)
    (perseg / "file").touch()
    for output, message in (("s3://bucket/out", "is an address"), ("file", "is a file, expected a folder")):
        assert message in refusal([*words_for(perseg, shapes_checkpoint), "-o", output])
    assert not (perseg / "s3:").exists()


def test_masks_of_another_checkpoint_are_not_scored_as_its_own(perseg, masks, shapes_checkpoint):
    same, other = perseg / "same.pth", perseg / "other.pth"
    shutil.copy(shapes_checkpoint, same)
    assert CliRunner().invoke(command, words_for(perseg, same), catch_exceptions=False).exit_code == 0
    state = torch.load(shapes_checkpoint, weights_only=True)
    torch.save({name: value + 0.01 for name, value in state.items()}, other)
    assert "of another checkpoint (" in refusal(words_for(perseg, other))


@pytest.mark.parametrize("changed", ["Images/disc/00.jpg", "Annotations/disc/00.png", "Images/disc/01.jpg"])
def test_masks_of_other_images_are_not_scored_as_theirs(perseg, masks, shapes_checkpoint, changed):
    path = perseg / changed
    pixels = np.array(Image.open(path))
    Image.fromarray(np.roll(pixels, 9, axis=1)).save(path)
    folder, _, name = changed.split("/")
    assert f"of another {folder}/{name} (" in refusal(words_for(perseg, shapes_checkpoint))


@pytest.mark.parametrize("record", [None, "", "[1]", "{"])
def test_masks_without_a_record_are_not_taken(perseg, masks, shapes_checkpoint, record):
    (masks / "perseg.json").unlink()
    if record is not None:
        (masks / "perseg.json").write_text(record)
    assert "holds masks without a perseg.json" in refusal(words_for(perseg, shapes_checkpoint))


def test_images_that_came_later_are_segmented_and_the_others_are_not_again(perseg, masks, shapes_checkpoint):
    before = (masks / "01.png").stat().st_mtime_ns
    shutil.copy(perseg / "Images" / "disc" / "01.jpg", perseg / "Images" / "disc" / "02.jpg")
    shutil.copy(perseg / "Annotations" / "disc" / "01.png", perseg / "Annotations" / "disc" / "02.png")
    for _ in range(2):
        result = CliRunner().invoke(command, words_for(perseg, shapes_checkpoint), catch_exceptions=False)
        assert result.output.splitlines()[1].split()[:2] == ["+0", "2"]
    assert (masks / "01.png").stat().st_mtime_ns == before
    assert (masks / "02.png").exists()

from pathlib import Path

import cv2
import numpy as np
import pytest

from vos import InputError
from vos_propagation.training.synthetic_clips import FRAMES, SIZE, draw_clip

RED = (200, 30, 20)


@pytest.fixture
def images(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """One red disc to cut out, one green photograph."""
    disc = np.zeros((120, 120, 4), np.uint8)
    cv2.circle(disc, (60, 60), 55, (*RED[::-1], 255), -1)
    cv2.imwrite(str(tmp_path / "disc.png"), disc)
    ground = np.full((500, 700, 3), (20, 160, 30), np.uint8)
    cv2.imwrite(str(tmp_path / "ground.png"), ground)
    return [tmp_path / "disc.png"], [tmp_path / "ground.png"]


def test_masks_are_where_the_objects_are(images: tuple[list[Path], list[Path]]) -> None:
    seen = set()
    for seed in range(6):
        pictures, label_maps = draw_clip(*images, seed)
        assert (len(pictures), len(label_maps)) == (FRAMES, FRAMES)
        for picture, label_map in zip(pictures, label_maps, strict=True):
            assert (picture.shape, picture.dtype) == ((*SIZE, 3), np.uint8)
            assert (label_map.shape, label_map.dtype) == (SIZE, np.uint8)
            seen |= set(np.unique(label_map))
            inside = cv2.erode((label_map > 0).astype(np.uint8), np.ones((9, 9))) > 0
            away = cv2.dilate((label_map > 0).astype(np.uint8), np.ones((9, 9))) == 0
            greener = picture[..., 1].astype(int) > picture[..., 0]
            # Blur by motion and by JPEG reaches a few pixels in.
            assert greener[inside].mean() < 0.05 if inside.any() else True
            # What is red and nobody's is a distractor; the photograph is green.
            assert greener[away].mean() > 0.3
    assert seen == {0, 1, 2, 3}


def test_the_same_seed_draws_the_same_clip(images: tuple[list[Path], list[Path]]) -> None:
    first, again, other = (draw_clip(*images, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first[0] + first[1], again[0] + again[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first[0], other[0], strict=True))


def test_something_moves(images: tuple[list[Path], list[Path]]) -> None:
    assert all((draw_clip(*images, seed)[1][0] != draw_clip(*images, seed)[1][-1]).any() for seed in (0, 1))


def test_a_file_that_is_no_image_is_named(images: tuple[list[Path], list[Path]], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"notes\.txt: cannot be read"):
        draw_clip([tmp_path / "notes.txt"], images[1], 0)

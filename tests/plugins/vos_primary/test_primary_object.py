"""``primary-object`` on clips that the test draws, as a user asks for it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import vos
from vos import cli
from vos.plugin import EmptyMaskError, WeightsError, load_plugins
from vos.testing import initializer_checks
from vos.testing.contract import check_all
from vos_primary.initializer import PrimaryObjectInitializer
from vos_primary.network import PrimaryObjectNetwork
from vos_primary.options import PrimaryOptions
from vos_propagation.ops.shipped_weights import load_shipped_weights

PLUGINS = load_plugins(autoload=False)
SIZE = (240, 320)
COUNT = 12


def draw_clip(folder: Path, *discs: tuple[int, int, int, int]) -> list[np.ndarray]:
    """Draw textured discs that move over a textured ground, each (x, y, pixels a frame, radius); return their masks."""
    rng = np.random.default_rng(3)
    ground = cv2.resize(rng.integers(60, 140, (30, 40, 3), dtype=np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    skin = cv2.resize(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    folder.mkdir(parents=True)
    masks = []
    for index in range(COUNT):
        image, every = ground.copy(), np.zeros(SIZE, np.uint8)
        for x, y, speed, radius in discs:
            mask = cv2.circle(np.zeros(SIZE, np.uint8), (x + speed * index, y), radius, 1, -1)
            image = np.where(mask[..., None] > 0, np.roll(skin, speed * index, axis=1), image)
            every |= mask
        Image.fromarray(image).save(folder / f"{index:05d}.png")
        masks.append(every > 0)
    return masks


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.fixture(scope="module")
def initializer() -> PrimaryObjectInitializer:
    return PrimaryObjectInitializer(PrimaryOptions())


def test_what_moves_is_found_in_the_first_and_the_last_frame(tmp_path, initializer):
    masks = draw_clip(tmp_path / "clip", (90, 120, 5, 45))
    for index in (0, COUNT - 1):
        found = vos.initialize(tmp_path / "clip", initializer, frame_index=index)
        assert vos.object_ids(found) == (1,)
        assert iou(found > 0, masks[index]) > 0.7


def test_of_two_equal_discs_the_one_that_moves_is_found(tmp_path, initializer):
    draw_clip(tmp_path / "clip", (80, 120, 0, 40), (200, 120, 5, 40))
    found = vos.initialize(tmp_path / "clip", initializer) > 0
    assert found[:, 155:].sum() > 4 * found[:, :125].sum()


def test_separate_regions_are_objects_of_their_own_the_largest_first(tmp_path):
    draw_clip(tmp_path / "clip", (70, 120, 4, 30), (220, 120, 4, 50))
    found = vos.initialize(tmp_path / "clip", "primary-object", {"separate": True}, plugins=PLUGINS)
    assert vos.object_ids(found)[:2] == (1, 2)
    assert found[120, 220] == 1
    assert found[120, 70] == 2


def test_it_keeps_the_contract():
    checks = initializer_checks("primary-object", plugins=PLUGINS, size=SIZE)
    assert len(check_all(checks)) == 7


def test_the_command_tracks_without_a_mask_and_says_where_nothing_is_found(tmp_path, capsys):
    masks = draw_clip(tmp_path / "clip", (90, 120, 5, 45))
    with pytest.raises(SystemExit) as ended:
        cli.main(["track", str(tmp_path / "clip"), "--primary", "--stop", "4", "-o", str(tmp_path / "out")])
    assert ended.value.code == 0, capsys.readouterr().err
    for index in range(4):
        assert iou(vos.read_label_map(tmp_path / f"out/clip/{index:05d}.png") > 0, masks[index]) > 0.7
    draw_clip(tmp_path / "empty")
    with pytest.raises(SystemExit) as ended:
        cli.main(["track", str(tmp_path / "empty"), "--primary", "-o", str(tmp_path / "no")])
    assert ended.value.code == 2
    assert "frame 00000: found nothing that moves or stands out. Take another frame" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_frame_of_one_colour_has_no_primary_object(initializer):
    with pytest.raises(EmptyMaskError, match="nothing that moves or stands out"):
        vos.initialize(np.full((*SIZE, 3), 128, np.uint8), initializer)


def test_a_weights_file_that_does_not_fit_is_named(tmp_path):
    (tmp_path / "network.pt").write_bytes(b"")
    for path in (tmp_path / "network.pt", tmp_path / "none.pt"):
        with pytest.raises(WeightsError, match=rf"{path.name}: is not the file of PrimaryObjectNetwork"):
            load_shipped_weights(PrimaryObjectNetwork(), path)

"""The paper's experiments on tiny data, with values computed by hand."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat

import vos
from vos.plugin import InputError
from vos_sam.evaluation.command import command
from vos_sam.evaluation.edges import THRESHOLDS, count_image, edge_scores, matched, read_truths
from vos_sam.evaluation.points import center_point, score_masks


def run(*words):
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False).output.splitlines()


def test_the_oracle_takes_the_best_of_three():
    truth = np.zeros((8, 8), bool)
    truth[2:6, 2:6] = True
    masks = np.zeros((3, 8, 8), bool)
    masks[0, 2:6, 2:4] = True  # 8 of 16
    masks[1, 2:6, 2:7] = True  # 16 of 20
    masks[2] = True  # 16 of 64
    score = score_masks(masks, np.array([0.9, 0.5, 0.1]), truth)
    assert (score.confident, score.oracle) == (0.5, 0.8)
    wide = np.zeros((9, 12), bool)
    wide[0:5, 1:12] = True
    x, y = center_point(wide)
    assert (y, 3 <= x <= 9) == (2, True), "three pixels from each border, the frame's too"


def test_points_of_a_folder(tmp_path, scene_files, shapes_checkpoint):
    images, masks = scene_files
    lines = run("points", images, masks, "--checkpoint", shapes_checkpoint, "--device", "cpu")
    count, objects, confident, oracle = lines[-1].split()
    assert (count, objects) == ("1", "2")
    assert 70 < float(confident) <= float(oracle) <= 100
    (masks / "scene.png").unlink()
    with pytest.raises(InputError, match="no scene.png for"):
        run("points", images, masks, "--checkpoint", shapes_checkpoint)


def line(column, rows=range(20)):
    edge = np.zeros((80, 80), bool)
    edge[list(rows), column] = True
    return edge


def test_edge_pixels_are_matched_one_to_one_within_a_distance():
    # 0.0075 of the diagonal of 80 x 80 is 0.85 pixels: the same pixel alone.
    of_edges, of_truth = matched(line(5) | line(6), line(5, range(10)) | line(9))
    assert (of_edges.sum(), of_truth.sum()) == (10, 10)
    assert matched(line(5), np.zeros((80, 80), bool))[0].sum() == 0
    near = np.zeros((200, 200), bool)  # 2.1 pixels
    near[10, 10:12] = True
    other = np.zeros((200, 200), bool)
    other[12, 10] = True
    assert [found.sum() for found in matched(near, other)] == [1, 1], "a truth's pixel has one partner"


def test_ods_and_ois_by_hand(tmp_path):
    # One image: 20 right pixels at 0.9, 20 wrong ones at 0.5. The other: 20 right at 0.3, 20 wrong at 0.1.
    truth = line(5)
    maps = [0.9 * line(5) + 0.5 * line(30), 0.3 * line(5) + 0.1 * line(30)]
    counts = np.stack([count_image(strength.astype(np.float32), [truth]) for strength in maps])
    low = int(np.flatnonzero(THRESHOLDS == 0.05)[0])
    assert counts[0, low].tolist() == [20, 20, 20, 40]
    scores = edge_scores(counts)
    # At 0.3: recall 40 / 40, precision 40 / 60, F 0.8. Each at its best: F 1.
    assert scores.ods == pytest.approx(0.8)
    assert scores.ois == pytest.approx(1.0)
    assert scores.r50 == 1.0

    # Two annotators: recall counts both, precision any.
    both = count_image(line(5).astype(np.float32), [line(5), line(40)])
    assert both[0].tolist() == [20, 40, 20, 20]
    for name, strength in zip("ab", maps, strict=True):
        for folder in ("maps", "truth"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray((strength * 255).astype(np.uint8)).save(tmp_path / "maps" / f"{name}.png")
        entries = np.empty((1, 1), object)
        entries[0, 0] = {"Boundaries": truth.astype(np.uint8)}
        savemat(tmp_path / "truth" / f"{name}.mat", {"groundTruth": entries})
    assert np.array_equal(read_truths(tmp_path / "truth" / "a.mat")[0], truth)
    assert run("edges", tmp_path / "maps", tmp_path / "truth", "--maps")[-1].split()[:3] == ["2", "0.800", "1.000"]
    (tmp_path / "truth" / "a.mat").write_bytes(b"text")
    with pytest.raises(InputError, match="not a BSDS500 ground truth"):
        run("edges", tmp_path / "maps", tmp_path / "truth", "--maps")


@pytest.fixture
def scene_files(tmp_path):
    import cv2

    label_map = np.zeros((120, 160), np.uint8)
    cv2.circle(label_map, (45, 50), 24, 1, -1)
    cv2.rectangle(label_map, (95, 55), (138, 98), 2, -1)
    colours = np.array([[105, 112, 104], [214, 48, 44], [40, 88, 222]], np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(colours[label_map]).save(tmp_path / "images" / "scene.png")
    vos.write_label_map(tmp_path / "masks" / "scene.png", label_map)
    return tmp_path / "images", tmp_path / "masks"

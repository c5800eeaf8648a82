"""The protocols sa-v, lvos, vost and mose against values of the official code."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vos
from vos.evaluation import SequenceScores, boundary_accuracy, protocol_named, score_sequence
from vos.evaluation.metrics import adaptive_boundary
from vos.evaluation.metrics import packed_masks as bits
from vos.evaluation.video.disappearance import disappearance_and_reappearance


def recorded(protocols: Path, name: str) -> Any:
    return np.load(protocols / f"{name}.npz")


def sequence_names(cases: Any) -> list[str]:
    return list(dict.fromkeys(key.split("/")[1] for key in cases if key.startswith("in/") and key.endswith("/gt")))


def scores_of(cases: Any, protocol: str) -> dict[str, SequenceScores]:
    return {
        name: score_sequence(cases[f"in/{name}/gt"], cases[f"in/{name}/pred"], protocol, name=name)
        for name in sequence_names(cases)
    }


def test_mose(protocols: Path) -> None:
    cases = recorded(protocols, "mose")
    scores = scores_of(cases, "mose")
    table = dict(zip(cases["out/all/names"], cases["out/all/table"], strict=True))
    for name, sequence in scores.items():
        for one in sequence.objects:
            at = f"out/all/{name}/{one.object_id}"
            assert one.j == pytest.approx(cases[f"{at}/J_frames"], abs=1e-12)
            assert one.f == pytest.approx(cases[f"{at}/F_frames"], abs=1e-12)
            assert one.f_adaptive == pytest.approx(cases[f"{at}/F_new_frames"], abs=1e-12)
            assert np.array_equal(~one.present, cases[f"{at}/empty_gt"])
            gone, back = disappearance_and_reappearance(one)
            found = [*(gone or (math.nan, math.nan)), *(back or (math.nan, math.nan))]
            assert found == pytest.approx(table[f"{name}_{one.object_id}"][3:].tolist(), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("tolerance", [1, 2, 3, 6, 0.6])
def test_the_tolerance_is_that_of_f_and_limits_the_adaptive_one(tolerance: float) -> None:
    truth = np.zeros((3, 120, 160), dtype=np.uint8)
    truth[:, 30:70, 40:80] = 1  # 1,600 px: the adaptive tolerance is 4 px
    moved = np.roll(truth, 3, axis=(1, 2))
    (one,) = score_sequence(truth, moved, "mose", tolerance=tolerance).objects
    assert one.f[0] == boundary_accuracy(truth[1], moved[1], tolerance=tolerance)
    assert one.f_adaptive is not None
    adaptive = 4 if tolerance < 1 else min(tolerance, 4)
    assert one.f_adaptive[0] == boundary_accuracy(truth[1], moved[1], tolerance=adaptive)


def test_a_disk_wider_than_a_word_is_in_the_centre() -> None:
    truth, moved = np.zeros((2, 3, 700, 700), dtype=np.uint8)
    truth[:, 2:690, 2:690], moved[:, 2:690, 66:690] = 1, 1  # the adaptive tolerance is 69 px, the usual one 64.3
    (one,) = score_sequence(truth, moved, "mose", tolerance=0.065).objects
    assert one.f[0] == boundary_accuracy(truth[1], moved[1], tolerance=65)


def test_vost(protocols: Path) -> None:
    cases = recorded(protocols, "vost")
    scores = scores_of(cases, "vost")
    for name, sequence in scores.items():
        for row, one in enumerate(sequence.objects):
            assert one.j == pytest.approx(cases[f"out/{name}/J_frames"][row], abs=1e-12)
            at = list(cases["out/names"]).index(f"{name}_{one.object_id}")
            last = one.j_last
            expected = [cases[f"out/J_last_{part}"][at] for part in "MRD"]
            assert [last.mean, last.recall, last.decay] == pytest.approx(expected, abs=1e-9)


def test_lvos(protocols: Path) -> None:
    cases = recorded(protocols, "lvos")
    for name, sequence in scores_of(cases, "lvos").items():
        for one in sequence.objects:
            at = f"out/semi-supervised/{name}/{one.object_id}"
            official = len(cases[f"{at}/J_frames"])
            # The recorded meta.json claims more frames than there are for one object; these count as 0 there.
            assert one.j == pytest.approx(cases[f"{at}/J_frames"][: len(one.j)], abs=1e-12)
            assert one.f == pytest.approx(cases[f"{at}/F_frames"][: len(one.f)], abs=1e-12)
            if official == len(one.j):
                # The official table numbers the objects in the order of meta.json.
                order = [int(i) for i in json.loads(str(cases["in/valid_meta_json"]))["videos"][name]["objects"]]
                official_name = f"{name}_{order.index(one.object_id) + 1}"
                row = list(cases["out/semi-supervised/names"]).index(official_name)
                assert one.instability == pytest.approx(cases["out/semi-supervised/V"][row], abs=1e-12)


@pytest.mark.parametrize("mode", ["skip", "noskip"])
def test_sa_v_from_folders(protocols: Path, tmp_path: Path, mode: str) -> None:
    cases = recorded(protocols, "sav")
    objects = [key.split("/")[1:3] for key in cases if key.startswith("in/") and key.endswith("/gt")]
    for sequence, number in objects:
        for kind, frames in (("gt", "gt_frames"), ("pred", "pred_frames")):
            folder = tmp_path / kind / sequence / number
            folder.mkdir(parents=True)
            masks, names = cases[f"in/{sequence}/{number}/{kind}"], cases[f"in/{sequence}/{number}/{frames}"]
            for mask, frame in zip(masks, names, strict=True):
                vos.write_label_map(folder / f"{frame:05d}.png", mask)
    scores = vos.evaluate(tmp_path / "gt", tmp_path / "pred", protocol="sa-v", all_frames=mode == "noskip")
    assert [sequence.name for sequence in scores.sequences] == sorted({sequence for sequence, _ in objects})
    for sequence, one in scores.objects:
        at = f"out/{mode}/{sequence}/{one.object_id:03d}"
        assert one.j == pytest.approx(cases[f"{at}/J_frames"], abs=1e-12)
        assert one.f == pytest.approx(cases[f"{at}/F_frames"], abs=1e-12)
    numbers = [100 * value for value in (scores.j_and_f, scores.j.mean, scores.f.mean)]
    assert numbers == pytest.approx(cases[f"out/{mode}/global_JF_J_F"].tolist(), abs=1e-9)


def test_a_disk_that_is_off_centre_is_that_of_opencv() -> None:
    import cv2

    rng = np.random.default_rng(0)
    for radius in (0.3, 0.58, 0.9, 2.4, 3.5, 7.8378):
        mask = (rng.random((40, 150)) > 0.97).astype(np.uint8)
        steps = np.arange(-radius, radius + 1)
        disk = (steps[:, None] ** 2 + steps[None] ** 2 <= radius**2).astype(np.uint8)
        packed = adaptive_boundary.dilate_off_centre(bits.pack(mask), radius)
        assert np.array_equal(bits.unpack(packed, 150), cv2.dilate(mask, disk) > 0)


def test_ids_that_the_truth_lacks_are_ignored_and_named() -> None:
    truth = np.zeros((5, 20, 20), dtype=np.uint8)
    truth[:, 4:12, 4:12] = 1
    prediction = truth.copy()
    prediction[2, 15:18, 15:18] = 9
    assert score_sequence(truth, prediction, "mose").notes == (
        "predicted ids 9 are no objects of the truth and were ignored",
    )
    with pytest.raises(vos.InputError, match="id 9 not in the truth"):
        score_sequence(truth, prediction, protocol_named("davis-2017"))


def test_a_later_object_is_scored_where_it_is_predicted_and_gone() -> None:
    truth = np.zeros((6, 20, 20), dtype=np.uint8)
    truth[:, 2:8, 2:8] = 1
    truth[1:3, 12:18, 12:18] = 2
    prediction = truth.copy()
    prediction[4, 12:18, 12:18] = 2
    second = score_sequence(truth, prediction, "youtube-vos").objects[1]
    assert second.object_id == 2
    assert second.j.tolist() == [1, 1, 0, 1]

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vos
from vos.host.merging import merge_objects


def argmax_against_background(logits, ids, size):
    planes = torch.nn.functional.interpolate(torch.from_numpy(logits)[None], size=size, mode="bilinear")[0].numpy()
    return np.array([0, *ids], np.uint8)[np.concatenate([np.zeros((1, *size), np.float32), planes]).argmax(0)]


@given(st.integers(0, 2**16), st.integers(1, 5))
def test_merge_is_argmax_against_a_zero_background(seed, count):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 6, 9)).astype(np.float32)
    ids = tuple(int(i) for i in random.permutation(np.arange(1, 255))[:count])
    for size in [(6, 9), (24, 36), (25, 31)]:
        merged = merge_objects(vos.Prediction(ids, logits), size)
        assert merged.dtype == np.uint8
        assert (merged != argmax_against_background(logits, ids, size)).mean() < 0.01


@given(
    st.integers(0, 2**16), st.integers(1, 4), st.sampled_from([(12, 9), (18, 14), (30, 31), (8, 9), (11, 7), (1, 3)])
)
def test_objects_in_a_part_of_the_frame_are_merged_as_if_all_of_it_were_resized(seed, count, size):
    random = np.random.default_rng(seed)
    logits = random.normal(-9, 1, size=(count, 12, 9)).astype(np.float32)
    for plane in logits:
        (top, bottom), (left, right) = (np.sort(random.integers(0, n + 1, 2)) for n in plane.shape)
        plane[top:bottom, left:right] += 11
    ids = tuple(range(1, count + 1))
    whole = np.zeros((count + 1, *size), np.float32)
    for plane, out in zip(logits, whole[1:], strict=True):
        cv2.resize(plane, size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)
    merged = merge_objects(vos.Prediction(ids, logits), size)
    assert (merged != whole.argmax(0)).mean() < 0.01, "but for ties within float32's precision"


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (2, 2)])
@pytest.mark.parametrize("count", [1, 3])
def test_frames_of_a_few_pixels_are_merged_like_any(size, count):
    logits = np.random.default_rng(count).normal(size=(count, *size)).astype(np.float32)
    ids = tuple(range(1, count + 1))
    merged = merge_objects(vos.Prediction(ids, logits), size)
    assert np.array_equal(merged, argmax_against_background(logits, ids, size))


@given(st.integers(0, 2**16))
def test_renaming_ids_renames_the_result(seed):
    logits = np.random.default_rng(seed).normal(size=(3, 8, 8)).astype(np.float32)
    one = merge_objects(vos.Prediction((1, 2, 3), logits), (16, 16))
    other = merge_objects(vos.Prediction((30, 7, 254), logits), (16, 16))
    assert np.array_equal(np.array([0, 30, 7, 254], np.uint8)[one], other)


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_absent_objects_are_left_out_and_shift_no_other(hidden):
    logits = np.ones((3, 4, 4), np.float32) * np.array([3, 2, 1], np.float32)[:, None, None]
    present = [i != hidden for i in range(3)]
    merged = merge_objects(vos.Prediction((5, 6, 7), logits, present=present), (8, 8))
    assert np.unique(merged).tolist() == [6 if hidden == 0 else 5]


def test_ties_go_to_the_earlier_row_and_zero_is_background():
    assert merge_objects(vos.Prediction((5, 6), np.ones((2, 2, 2), np.float32)), (2, 2)).tolist() == [[5, 5], [5, 5]]
    assert not merge_objects(vos.Prediction((5,), np.zeros((1, 2, 2), np.float32)), (2, 2)).any()


def test_label_map_predictions_are_resized_by_nearest_neighbour():
    label_map = np.array([[0, 9], [200, 0]], np.uint8)
    merged = merge_objects(vos.Prediction.from_label_map(label_map), (4, 6))
    assert np.array_equal(merged, np.kron(label_map, np.ones((2, 3), np.uint8)))
    hidden = vos.Prediction.from_label_map(label_map, present=[False, True])
    assert vos.object_ids(merge_objects(hidden, (2, 2))) == (200,)


def test_no_objects_gives_background():
    assert not merge_objects(vos.Prediction((), np.zeros((0, 2, 2), np.float32)), (4, 4)).any()
